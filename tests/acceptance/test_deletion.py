"""`delete` and `prune`, here and through a server."""

import json
import time

import pytest

from batchchat.jobs.deletion.deletion import Deleter
from batchchat.jobs.ids import id_created_at
from tests.acceptance.serving import Serving
from tests.acceptance.terminal import run_in_terminal
from tests.support.ended import whole
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow

DATA = b"".join(whole(f"q-{n}", f"question {n}") + b"\n" for n in range(5))
MISSING = "batch_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b"


@pytest.fixture(scope="module")
def server(make_place):
    server = Serving(make_place())
    server.start()
    return server


@pytest.fixture(params=["here", "through a server"])
def run(server, request):
    """Run a command in one of the two ways."""
    return server.place.run if request.param == "here" else server.ask


def objects_of(server, batch_id):
    """Return the stored objects of a batch, except for the record of its deletion."""
    keys = [entry.key for entry in server.hand.storage.list("")]
    return [key for key in keys if batch_id in key and "/deletions/" not in key]


def test_delete_shows_what_it_frees_and_removes_it(server, run):
    state = server.hand.ended(DATA, output_format="both")
    batch_id = state.batch.id
    planned = run("delete", batch_id, "--dry-run", "--json")
    assert planned.code == 0, planned.err
    assert server.hand.ledger.state(batch_id).is_terminal
    done = run("delete", batch_id, "--yes", "--json")
    assert (done.code, done.json()) == (0, planned.json() | {"deleted": True})
    assert done.json()["bytes"] > 3 * len(DATA)
    assert objects_of(server, batch_id) == []
    files = [*state.final.file_ids, state.batch.input_file_id]
    assert not any(
        list(server.hand.storage.list(f"projects/default/files/{file_id}"))
        for file_id in files
    )
    assert not list(server.place.storage.glob(f"projects/*/*/{batch_id}"))
    for command in ("status", "delete"):
        again = run(command, batch_id, *(["--yes"] if command == "delete" else []))
        assert again.code == 2
        assert f"error: no such batch: `{batch_id}`" in again.err


def test_delete_prints_sizes_for_people(server, run):
    batch_id = server.hand.ended(DATA).batch.id
    done = run("delete", batch_id, "--yes", "--keep-input")
    assert (done.code, done.out.decode()) == (0, f"{batch_id}\n")
    assert " kB in " in done.err
    assert "the input is kept" in done.err


def test_delete_asks_only_on_a_terminal(server, run):
    batch_id = server.hand.ended(DATA).batch.id
    for command in (["delete", batch_id], ["prune", "--older-than", "1s"]):
        done = run(*command)
        assert done.code == 2
        assert "hint: repeat the command with `--yes`" in done.err
    assert server.hand.ledger.state(batch_id).is_terminal


@pytest.mark.parametrize(
    ("typed", "code"), [(b"y\n", 0), (b"n\n", 1), (b"\n", 1), (b"\x04", 1)]
)
def test_delete_does_what_is_typed(server, typed, code):
    batch_id = server.hand.ended(DATA).batch.id
    screen = run_in_terminal(server.place, 100, "delete", batch_id, typed=typed)
    assert screen.code == code
    text = " ".join(screen.lines)
    assert f"delete `{batch_id}` (" in text
    assert ("nothing was deleted" in text) == (code == 1)
    assert bool(objects_of(server, batch_id)) == (code == 1)


def test_a_batch_that_has_not_ended_is_not_deleted(server, run):
    batch_id = server.hand.submit(DATA)
    done = run("delete", batch_id, "--yes")
    assert done.code == 2
    assert f"error: `{batch_id}` is in_progress" in done.err
    assert server.hand.ledger.state(batch_id).plan


def test_an_interrupted_deletion_is_continued(server, run):
    hand = server.hand
    other, batch_id = (hand.ended(DATA).batch.id for _ in range(2))
    Deleter(hand.ledger)._begin(batch_id, keep_input=False)
    hand.storage.delete(hand.ledger.keys.batch(batch_id).batch)
    listed = run("list", "--json").json()["data"]
    assert batch_id not in {batch["id"] for batch in listed}
    assert run("status", "latest", "--json").json()["id"] == other
    assert run("delete", batch_id, "--yes").code == 0
    assert objects_of(server, batch_id) == []


def test_an_unknown_batch_is_an_error(run):
    done = run("delete", MISSING, "--yes")
    assert (done.code, done.out) == (2, b"")
    assert f"error: no such batch: `{MISSING}`" in done.err


def test_prune_deletes_what_ended_before_the_given_time(server, run):
    hand = server.hand
    old = [hand.ended(DATA).batch.id for _ in range(2)]
    running = hand.submit(DATA)
    wait_until(lambda: time.time() > id_created_at(running) + 2.1)
    kept = run("prune", "--older-than", "1d", "--yes", "--json").json()
    assert kept["data"] == []
    planned = run("prune", "--older-than", "2s", "--dry-run", "--json").json()
    assert {*old} <= {one["id"] for one in planned["data"]}
    assert planned["deleted"] is False
    assert planned["bytes"] == sum(one["bytes"] for one in planned["data"])
    shown = run("prune", "--older-than", "2s", "--dry-run")
    assert f"would delete {len(planned['data'])} batches (" in shown.err
    assert f"{old[0]}  " in shown.out.decode()
    done = run("prune", "--older-than", "2s", "--yes", "--json").json()
    assert done == planned | {"deleted": True}
    assert not any(objects_of(server, batch_id) for batch_id in old)
    assert hand.ledger.state(running).plan
    nothing = run("prune", "--older-than", "2s", "--yes")
    assert (nothing.code, nothing.out) == (0, b"")
    assert "no batches to delete" in nothing.err


@pytest.mark.parametrize("text", ["30", "d", "0d", "-1d", "1w", "", "30 days"])
def test_a_time_that_is_no_duration_is_an_error(server, text):
    done = server.place.run("prune", f"--older-than={text}", "--dry-run")
    assert done.code == 2
    assert "is not a duration, such as 30d or 12h" in done.err
    assert "--older-than" in done.err


def test_a_batch_that_runs_on_this_machine_is_not_deleted(place):
    file = place.file("requests.jsonl", DATA.replace(b'"q-', b'"r-'))
    settings = {"simulated_tokens_per_second": 1}
    options = ["--model", "demo", "--output", "out.jsonl", "--json"]
    running = place.start("submit", file, *options, settings=settings)
    running.until_it_says("batch_")
    batch_id = running.err.read_text().partition("\n")[0]
    done = place.run("delete", batch_id, "--yes")
    assert done.code == 2
    assert "error: " in done.err
    assert json.loads(place.run("list", "--json").out)["data"]
