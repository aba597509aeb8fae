"""One project can't see, guess, cancel or download what is another's."""

import re

import pytest

from tests.api.served import Served, error_of
from tests.unit.ended import Hand, whole


@pytest.fixture(scope="module")
def server():
    served = Served(is_private=False)
    yield served
    served.close()


@pytest.fixture(scope="module")
def owner(server):
    return server.key("owner")


@pytest.fixture(scope="module")
def stranger(server):
    return server.key("stranger")


@pytest.fixture(scope="module")
def things(server, owner):
    """Ids of the owner's: a file, a running batch, a webhook."""
    file_id = server.upload(headers=owner)
    batch = server.create(file_id, headers=owner, metadata={"secret": "of the owner"})
    hook = {"name": "n", "url": "https://example.com", "event_types": ["batch.failed"]}
    webhook = server.client.post("/v1/webhook_endpoints", json=hook, headers=owner)
    return {
        "file_id": file_id,
        "batch_id": batch.json()["id"],
        "webhook_id": webhook.json()["id"],
    }


def routes_with_ids():
    served = Served()
    paths = served.app.openapi()["paths"]
    served.close()
    return [
        (method, path)
        for path, operations in paths.items()
        for method in operations
        if re.search(r"\{\w+_id\}", path)
    ]


def routes_without_ids():
    served = Served()
    paths = served.app.openapi()["paths"]
    served.close()
    return [
        path
        for path, operations in paths.items()
        if "get" in operations and path.startswith("/v1") and "{" not in path
    ]


BODIES = {
    "/v1/webhook_endpoints/{webhook_id}": {"name": "mine now"},
    "/v1/webhook_endpoints/{webhook_id}/test": {"event_type": "batch.failed"},
}


@pytest.mark.parametrize(("method", "path"), routes_with_ids())
def test_another_projects_object_does_not_exist(server, stranger, things, method, path):
    before = server.stored()
    body = {} if method == "get" else {"json": BODIES.get(path, {})}
    answer = server.client.request(
        method, path.format(**things), headers=stranger, **body
    )
    assert answer.status_code == 404, answer.text
    assert "secret" not in answer.text
    error_of(answer)
    assert server.stored() == before


@pytest.mark.parametrize(("method", "path"), routes_with_ids())
def test_nobody_gets_in_without_a_key(server, things, method, path):
    answer = server.client.request(method, path.format(**things))
    assert answer.status_code == 401
    assert error_of(answer)["code"] == "invalid_api_key"


@pytest.mark.parametrize("path", routes_without_ids())
def test_lists_need_a_key_as_well(server, path):
    assert server.client.get(path).status_code == 401


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/v1/webhook_endpoints"])
def test_another_projects_objects_are_not_listed(server, owner, stranger, things, path):
    assert server.client.get(path, headers=stranger).json()["data"] == []
    mine = server.client.get(path, headers=owner).json()["data"]
    assert {one["id"] for one in mine} <= set(things.values())
    assert mine


def test_another_projects_file_is_no_input(server, stranger, things):
    answer = server.create(things["file_id"], headers=stranger)
    assert answer.status_code == 404
    assert error_of(answer)["param"] == "input_file_id"


def test_another_projects_id_is_no_place_in_a_list(server, stranger, things):
    params = {"after": things["batch_id"]}
    answer = server.client.get("/v1/batches", params=params, headers=stranger)
    assert answer.json()["data"] == []


def test_the_same_idempotency_key_of_another_project_is_another(server):
    ids = []
    for headers in (server.key("third"), server.key("fourth")):
        file_id = server.upload(headers=headers)
        key = headers | {"idempotency-key": "the same"}
        ids.append(server.create(file_id, headers=key).json()["id"])
    assert ids[0] != ids[1]


def test_the_metrics_name_no_project(server, things):
    assert things
    text = server.client.get("/metrics").text
    assert "owner" not in text
    assert not any(one in text for one in things.values())


def test_an_ended_batchs_output_is_its_projects_only(server, owner, stranger):
    hand = Hand(storage=server.storage)
    state = hand.ended(whole("a", "the prompt"), output_format="both")
    assert state.final
    assert len(state.final.file_ids) == 2
    for file_id in state.final.file_ids:
        for headers in (owner, stranger):  # it is of the project `default`
            answer = server.client.get(f"/v1/files/{file_id}/content", headers=headers)
            assert answer.status_code == 404
