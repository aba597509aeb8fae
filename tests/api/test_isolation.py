"""One project can't see, guess, cancel or download what is another's."""

import pytest
from starlette.routing import Route

from tests.api.api_server import LINE, Served, error_of
from tests.support.ended import Hand, whole


@pytest.fixture(scope="module")
def server():
    served = Served(loopback_only=False)
    yield served
    served.close()


@pytest.fixture(scope="module")
def owner(server):
    return server.key("owner")


@pytest.fixture(scope="module")
def stranger(server):
    return server.key("stranger")


@pytest.fixture
def things(server, owner):
    """Ids of the owner's: a file, a running batch, a webhook."""
    file_id = server.upload(SECRET_LINE, headers=owner)
    metadata = {"for": "confidential", "n": file_id}  # each is another create
    batch = server.create(file_id, headers=owner, model="m", metadata=metadata)
    webhook = server.client.post("/v1/webhook_endpoints", json=HOOK, headers=owner)
    yield {
        "file_id": file_id,
        "batch_id": batch.json()["id"],
        "webhook_id": webhook.json()["id"],
    }
    place = f"/v1/webhook_endpoints/{webhook.json()['id']}"  # a project has few
    server.client.delete(place, headers=owner)


SECRET_LINE = LINE.replace(b"hi", b"confidential")
HOOK = {"name": "n", "url": "https://example.com", "event_types": ["batch.failed"]}


def every_route():
    """Return method and path of all that the server answers, shown or not."""
    served = Served()
    served.close()
    found = []
    for route in served.app.routes:
        assert isinstance(route, Route), "another kind is to be tried as well"
        found += [(method, route.path) for method in sorted(route.methods or ())]
    return found


ROUTES = every_route()
OF_ONE_THING = [(method, path) for method, path in ROUTES if "_id}" in path]
FOR_EVERYBODY = {
    *("/healthz", "/readyz", "/metrics"),
    *("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"),
}
BODIES = {
    "/v1/webhook_endpoints/{webhook_id}": {"name": "mine now"},
    "/v1/webhook_endpoints/{webhook_id}/test": {"event_type": "batch.failed"},
}


def ask(server, route, things, headers=None):
    method, path = route
    body = {"json": BODIES.get(path, {})} if method in {"POST", "DELETE"} else {}
    place = path.replace("{model:path}", "m").format(**things)
    return server.client.request(method, place, headers=headers, **body)


@pytest.mark.parametrize("route", OF_ONE_THING)
def test_another_projects_object_does_not_exist(server, owner, stranger, things, route):
    before = server.stored()
    answer = ask(server, route, things, stranger)
    assert answer.status_code == 404, answer.text
    assert "confidential" not in answer.text
    if route[0] != "HEAD":
        error_of(answer)
    assert server.stored() == before
    assert ask(server, route, things, owner).status_code != 404


@pytest.mark.parametrize("route", ROUTES)
def test_nobody_gets_in_without_a_key(server, things, route):
    method, path = route
    answer = ask(server, route, things)
    if path in FOR_EVERYBODY:
        assert answer.status_code == 200
        assert "confidential" not in answer.text
        assert not any(one in answer.text for one in things.values())
    else:
        assert answer.status_code == 401
        assert method == "HEAD" or error_of(answer)["code"] == "invalid_api_key"


@pytest.mark.parametrize("route", ROUTES)
def test_no_answer_tells_of_another_projects_objects(server, stranger, things, route):
    answer = ask(server, route, things, stranger)
    asked_for = {one for name, one in things.items() if f"{{{name}}}" in route[1]}
    assert "confidential" not in answer.text
    assert not any(one in answer.text for one in {*things.values()} - asked_for)


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/v1/webhook_endpoints"])
def test_another_projects_objects_are_not_listed(server, owner, stranger, things, path):
    assert server.client.get(path, headers=stranger).json()["data"] == []
    mine = server.client.get(path, headers=owner).json()["data"]
    assert {*things.values()} & {one["id"] for one in mine}


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
