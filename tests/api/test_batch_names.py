"""A user names a batch by its id, the beginning of it, or `latest`, here and there."""

from typing import cast

import pytest

from batchchat.cli.backends.embedded import EmbeddedBackend
from batchchat.cli.backends.protocol import Backend
from batchchat.cli.backends.remote import RemoteBackend
from batchchat.cli.backends.resolve import resolve_batch
from batchchat.cli.backends.session import Session
from batchchat.cli.client.http_client import ServerClient
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import NotFoundError, UsageError
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.settings import Settings
from tests.api.api_server import LINE, ApiServer
from tests.support.ended import MODEL, Hand

IDS = [
    "batch_0199aaaaaaaa7000aaaaaaaaaaaaaaaa",
    "batch_0199aaaaaabb7000bbbbbbbbbbbbbbbb",
    "batch_0199aaaaaabb7000cccccccccccccccc",
    "batch_0199cccccccc7000dddddddddddddddd",
]


@pytest.fixture(scope="module")
def server():
    """A server with four batches."""
    server = ApiServer()
    ledger = Hand(server.storage).ledger
    file = store_file(ledger, [LINE], "in.jsonl")
    for batch_id in IDS:
        create_batch(ledger, file, BatchOptions(model="m"), batch_id=batch_id)
    yield server
    server.close()


@pytest.fixture(params=["embedded", "remote"])
def backend(request, server):
    if request.param == "remote":
        client = ServerClient(server.url, None)
        yield RemoteBackend(client)
        client._http.close()
    else:
        ledger = Hand(server.storage).ledger
        yield EmbeddedBackend(Session(Settings(), Catalog({"m": MODEL}), ledger))


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        (IDS[1], 1),
        (IDS[1].upper().replace("BATCH", "batch"), 1),
        (IDS[1].removeprefix("batch_"), 1),
        ("batch_0199c", 3),
        ("0199C", 3),
        ("0199aaaaaaa", 0),
        ("0199aaaaaabb7000c", 2),
        (IDS[2][:-1], 2),
        ("latest", 3),
    ],
)
def test_a_batch_is_named_by_its_id_the_beginning_of_it_or_latest(
    backend, typed, number
):
    assert resolve_batch(backend, typed) == IDS[number]


@pytest.mark.parametrize(
    ("typed", "candidates"), [("0199aaaaaab", IDS[1:3]), ("batch_0199a", IDS[:3])]
)
def test_a_beginning_of_several_ids_is_an_error_that_names_them(
    backend, typed, candidates
):
    with pytest.raises(UsageError) as caught:
        resolve_batch(backend, typed)
    named = {one for one in IDS if one in caught.value.message}
    assert named == set(candidates)
    assert typed in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        (IDS[0][:-1] + "b", IDS[0]),
        ("batch_0199cccccccd", IDS[3]),
        ("0199cccccccd", IDS[3]),
        ("batch_ffffffffffff", None),
        ("ffff", None),
    ],
)
def test_an_unknown_id_is_an_error_that_names_similar_ones(backend, typed, near):
    with pytest.raises(NotFoundError) as caught:
        resolve_batch(backend, typed)
    hint = str(caught.value.hint)
    assert "`batchchat list`" in hint
    assert [one for one in IDS if one in hint] == ([near] if near else [])


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "batch_",
        "nope",
        "../../etc",
        "0199/..",
        "0199\n",
        "٠١٩٩",
        "batch_0199*",
        IDS[0] + "0",
        "last",
        "file_0199",
    ],
)
def test_what_can_not_begin_an_id_is_never_looked_up(typed):
    with pytest.raises(NotFoundError) as caught:
        resolve_batch(cast("Backend", None), typed)
    assert "`batchchat list`" in str(caught.value.hint)


def test_latest_of_no_batches_is_an_error_with_a_hint():
    session = Session(Settings(), Catalog({}), Hand().ledger)
    with pytest.raises(NotFoundError) as caught:
        resolve_batch(EmbeddedBackend(session), "latest")
    assert "batchchat submit" in str(caught.value.hint)
