"""Projects cannot see, guess, change or download each other's objects."""

import pytest
from starlette.routing import Route

from tests.api.api_server import LINE, ApiServer, error_of
from tests.support.ended import Hand, whole


@pytest.fixture(scope="module")
def server():
    served = ApiServer(loopback_only=False, metrics=True)
    yield served
    served.close()


@pytest.fixture(scope="module")
def owner(server):
    return server.key("owner")


@pytest.fixture(scope="module")
def outsider(server):
    return server.key("outsider")


@pytest.fixture
def things(server, owner):
    """The ids of a file, a running batch and a webhook endpoint of the owner."""
    file_id = server.upload(SECRET_LINE, headers=owner)
    metadata = {"for": "confidential", "n": file_id}  # so that each request differs
    batch = server.create(file_id, headers=owner, model="m", metadata=metadata)
    webhook = server.client.post("/v1/webhook_endpoints", json=HOOK, headers=owner)
    yield {
        "file_id": file_id,
        "batch_id": batch.json()["id"],
        "webhook_id": webhook.json()["id"],
    }
    place = f"/v1/webhook_endpoints/{webhook.json()['id']}"  # their number is limited
    server.client.delete(place, headers=owner)


SECRET_LINE = LINE.replace(b"hi", b"confidential")
HOOK = {"name": "n", "url": "https://example.com", "event_types": ["batch.failed"]}


def every_route():
    """Return method and path of all routes, including undocumented ones."""
    served = ApiServer(metrics=True)
    served.close()
    found = []
    for route in served.app.routes:
        assert isinstance(route, Route), "test this kind of route, too"
        found += [(method, route.path) for method in sorted(route.methods or ())]
    return found


ROUTES = every_route()
ROUTES_WITH_ID = [(method, path) for method, path in ROUTES if "_id}" in path]
PUBLIC_PATHS = {
    *("/healthz", "/readyz", "/metrics", "/openapi.json"),
    *("/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"),
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


def stored(server):
    """Return the keys of all objects except the time of a key's last use."""
    return [one for one in server.stored() if not one.endswith("/last_use.json")]


@pytest.mark.parametrize("route", ROUTES_WITH_ID)
def test_objects_of_other_projects_are_not_found(
    server, owner, outsider, things, route
):
    before = stored(server)
    response = ask(server, route, things, outsider)
    assert response.status_code == 404, response.text
    assert "confidential" not in response.text
    if route[0] != "HEAD":
        error_of(response)
    assert stored(server) == before
    assert ask(server, route, things, owner).status_code != 404


@pytest.mark.parametrize("route", ROUTES)
def test_a_request_without_a_key_is_rejected(server, things, route):
    method, path = route
    response = ask(server, route, things)
    if path in PUBLIC_PATHS:
        assert response.status_code == 200
        assert "confidential" not in response.text
        assert not any(one in response.text for one in things.values())
    else:
        assert response.status_code == 401
        assert method == "HEAD" or error_of(response)["code"] == "invalid_api_key"


@pytest.mark.parametrize("route", ROUTES)
def test_no_response_reveals_objects_of_other_projects(server, outsider, things, route):
    response = ask(server, route, things, outsider)
    asked_for = {one for name, one in things.items() if f"{{{name}}}" in route[1]}
    assert "confidential" not in response.text
    assert not any(one in response.text for one in {*things.values()} - asked_for)


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/v1/webhook_endpoints"])
def test_objects_of_other_projects_are_not_listed(
    server, owner, outsider, things, path
):
    assert server.client.get(path, headers=outsider).json()["data"] == []
    mine = server.client.get(path, headers=owner).json()["data"]
    assert {*things.values()} & {one["id"] for one in mine}


def test_a_file_of_another_project_cannot_be_an_input(server, outsider, things):
    response = server.create(things["file_id"], headers=outsider)
    assert response.status_code == 404
    assert error_of(response)["param"] == "input_file_id"


def test_an_id_of_another_project_is_no_valid_cursor(server, outsider, things):
    params = {"after": things["batch_id"]}
    response = server.client.get("/v1/batches", params=params, headers=outsider)
    assert response.json()["data"] == []


def test_idempotency_keys_are_separate_between_projects(server):
    ids = []
    for headers in (server.key("third"), server.key("fourth")):
        file_id = server.upload(headers=headers)
        key = headers | {"idempotency-key": "the same"}
        ids.append(server.create(file_id, headers=key).json()["id"])
    assert ids[0] != ids[1]


def test_metrics_do_not_name_projects(server, things):
    assert things
    text = server.client.get("/metrics").text
    assert "owner" not in text
    assert not any(one in text for one in things.values())


def test_the_output_of_an_ended_batch_is_visible_to_its_project_only(
    server, owner, outsider
):
    hand = Hand(storage=server.storage)
    state = hand.ended(whole("a", "the prompt"), output_format="both")
    assert state.final
    assert len(state.final.file_ids) == 2
    for file_id in state.final.file_ids:
        for headers in (owner, outsider):  # the batch belongs to the project `default`
            response = server.client.get(
                f"/v1/files/{file_id}/content", headers=headers
            )
            assert response.status_code == 404
