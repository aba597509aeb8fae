"""Results delivered to a URL, and as Parquet."""

import pytest
from pyarrow import parquet

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.ledger.records import DeliveryReceipt, encode
from batchchat.jobs.results.delivery import deliver
from batchchat.jobs.storage.destination import Destination
from tests.acceptance.serving import Serving, batch_id_of
from tests.support.ended import bare, completion, whole

pytestmark = pytest.mark.slow

GOOD = b"".join(whole(f"q-{n}", f"question {n}") + b"\n" for n in range(5))


@pytest.fixture
def server(make_place, tmp_path):
    server = Serving(make_place(), {"output_prefixes": f"{tmp_path}/exports"})
    server.start()
    return server


@pytest.fixture
def file(server):
    return server.place.file("in.jsonl", GOOD)


def end_delivery(server, batch_id):
    """Deliver the results as a controller does."""
    ledger = server.hand.ledger
    open_place = lambda url: Destination.parse(url).open(None, path_style=None)  # noqa: E731
    deliver(ledger, ledger.state(batch_id), open_place)


def half(request):
    return completion("yes") if request.line % 2 else RequestRefusedError("no")


@pytest.mark.parametrize("formats", ["both", "parquet"])
def test_parquet_is_written_once_when_the_batch_ends(server, file, formats):
    options = ["--format", formats, "--output", "out.parquet", "--model", "m"]
    running = server.client("submit", file, *options)
    batch_id = batch_id_of(running)
    server.end_batch(batch_id, half)
    done = running.end()
    assert done.code == 1
    folder, final = server.place.folder, server.hand.ledger.state(batch_id).final
    assert (folder / "out.parquet").read_bytes() == server.hand.file(
        final.parquet_file_id
    )
    assert parquet.read_table(folder / "out.parquet").num_rows == 5
    others = {path.name for path in folder.glob("out.*")} - {"out.parquet"}
    both = {"out.jsonl", "out.errors.jsonl"}
    assert others == (both if formats == "both" else set())
    serve_log = server.place.started[0].err.read_text()
    assert "format=parquet" not in serve_log


def test_submit_waits_for_the_delivery(server, file, tmp_path):
    place = f"file://{tmp_path}/exports/mine/"
    running = server.client("submit", file, "--model", "m", "--output", place)
    batch_id = batch_id_of(running)
    server.end_batch(batch_id)
    running.until_it_says("delivering the results")
    end_delivery(server, batch_id)
    done = running.end()
    there = tmp_path / "exports" / "mine" / f"{batch_id}_output.jsonl"
    assert done.code == 0
    assert f"  wrote    {there.as_uri()}\n" in done.err
    assert there.read_bytes() == server.ask("results", batch_id).out
    assert "delivery   completed" in server.ask("status", batch_id).out.decode()


def test_failed_delivery_is_an_error_with_a_hint(server, file, tmp_path):
    place = f"file://{tmp_path}/exports/mine/"
    submitted = server.ask(
        *("submit", file, "--model", "m", "--output", place, "--no-wait")
    )
    batch_id = submitted.out.decode().strip()
    server.end_batch(batch_id)
    keys = server.hand.ledger.keys.batch(batch_id)
    lost = DeliveryReceipt(1_000, error="no room")
    server.hand.storage.create(keys.delivery_receipt, encode(lost))
    done = server.ask("watch", batch_id)
    assert done.code == 2
    assert "error: delivering the results failed: no room\n" in done.err
    assert (
        f"hint: the results are kept: `batchchat results {batch_id} --output"
        in done.err
    )
    assert "delivery   failed: no room" in server.ask("status", batch_id).out.decode()


def test_destination_outside_the_allowed_prefixes_is_an_error(server, file):
    for place in ("s3://bucket/x/", "file:///etc"):
        done = server.ask("submit", file, "--model", "m", "--output", place)
        assert (done.code, done.out) == (2, b"")
        assert "BATCHCHAT_OUTPUT_PREFIXES" in done.err
        assert server.files() == server.batches() == []


WRONG = {
    "unsupported URL": ["submit", "in.jsonl", "--output", "http://host/x"],
    "path traversal": ["submit", "in.jsonl", "--output", "s3://bucket/../x"],
    "URL for results": ["results", f"batch_{'0' * 32}", "--output", "s3://bucket/x"],
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_invalid_destination_is_an_error_and_creates_no_directory(place, arguments):
    place.file("in.jsonl", bare("hi"))
    done = place.run(*arguments)
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    assert not [path for path in place.folder.iterdir() if ":" in path.name]


def test_destination_inside_the_storage_is_an_error(place):
    file = place.file("in.jsonl", bare("hi"))
    inside = f"{place.storage.as_uri()}/projects"
    done = place.run("submit", file, "--model", "demo", "--output", inside)
    assert done.code == 2
    assert "is within the storage" in done.err
