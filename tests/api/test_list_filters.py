"""Lists of batches by status and metadata."""

import pytest

from batchchat.cli.backends.embedded import EmbeddedBackend
from batchchat.cli.backends.remote import RemoteBackend
from batchchat.cli.backends.session import Session
from batchchat.cli.client.http_client import ServerClient
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.ledger.batch_filter import BatchFilter
from batchchat.jobs.settings import Settings
from tests.api.api_server import LINE, ApiServer
from tests.support.ended import MODEL, Hand

A, B = {"team": "a"}, {"team": "b", "run": "x=1 & 2"}


@pytest.fixture(scope="module")
def server():
    """A server with 25 completed batches between two of other kinds."""
    server = ApiServer()
    hand = Hand(server.storage)
    hand.submit(LINE, metadata=A, plan=False)
    for number in range(25):
        hand.ended(LINE, metadata=A if number % 5 else B)
    hand.submit(LINE, metadata=B)
    yield server
    server.close()


def listed(server, *, limit=100, **params):
    response = server.client.get("/v1/batches", params={"limit": limit} | params)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    ("params", "number"),
    [
        ({}, 27),
        ({"status": "completed"}, 25),
        ({"status": "validating"}, 1),
        ({"status": ["validating", "in_progress"]}, 2),
        ({"status": "failed"}, 0),
        ({"metadata[team]": "b"}, 6),
        ({"metadata[team]": "b", "metadata[run]": "x=1 & 2"}, 6),
        ({"metadata[team]": "b", "metadata[run]": "other"}, 0),
        ({"metadata[team]": "b", "status": "completed"}, 5),
    ],
    ids=str,
)
def test_the_api_lists_the_batches_that_match(server, params, number):
    page = listed(server, **params)
    assert len(page["data"]) == number
    assert page["has_more"] is False


def test_pages_contain_only_what_matches(server):
    first = listed(server, limit=4, status="completed", **{"metadata[team]": "b"})
    assert (len(first["data"]), first["has_more"]) == (4, True)
    after = {"after": first["last_id"], "metadata[team]": "b"}
    rest = listed(server, limit=4, status="completed", **after)
    assert (len(rest["data"]), rest["has_more"]) == (1, False)
    assert not {b["id"] for b in first["data"]} & {b["id"] for b in rest["data"]}


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"status": "running"}, "status"),
        ({"status": ""}, "status"),
        ({"metadata": "team=a"}, "metadata"),
        ({"metadata[]": "a"}, "metadata[]"),
        ({"metadata[a][b]": "c"}, "metadata[a][b]"),
    ],
    ids=str,
)
def test_an_invalid_filter_is_an_error_that_names_it(server, params, param):
    response = server.client.get("/v1/batches", params=params)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.fixture(params=["embedded", "remote", "older server"])
def backend(request, server):
    if request.param == "embedded":
        ledger = Hand(server.storage).ledger
        yield EmbeddedBackend(Session(Settings(), Catalog({"m": MODEL}), ledger))
        return
    client = ServerClient(server.url, None)
    if request.param == "older server":
        client = IgnoringFilters(server.url, None)
    yield RemoteBackend(client)
    client._http.close()


class IgnoringFilters(ServerClient):
    """Stands for a server that does not know the filters."""

    def get(self, path, **params):
        known = {name: params[name] for name in ("limit", "after") if name in params}
        return super().get(path, **known)


def test_each_backend_lists_the_batches_that_match(backend):
    wanted = BatchFilter(statuses=frozenset({"completed"}), metadata=B)
    page = backend.newest(4, wanted)
    assert (len(page.views), page.has_more) == (4, True)
    page = backend.newest(5, wanted)
    assert (len(page.views), page.has_more) == (5, False)
    assert {view.batch.status for view in page.views} == {"completed"}
    assert all(view.batch.metadata == B for view in page.views)
