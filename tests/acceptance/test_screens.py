"""What `list` and `status` show in terminals of 60, 80 and 120 columns."""

import re

import pytest

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.storage import open_storage
from tests.acceptance.terminal import run_in_terminal
from tests.support.ended import Hand, completion, whole

FEW = b"".join(whole(f"q-{n}", f"question {n}") + b"\n" for n in range(5))


def half(request):
    if request.line % 2:
        return completion(f"re: {request.custom_id}")
    return RequestRefusedError("no", code="no", param="n")


@pytest.fixture(scope="module")
def place(make_place):
    return make_place()


@pytest.fixture(scope="module")
def ids(place):
    """The batches, newest first."""
    hand = Hand(open_storage(str(place.storage)))
    return [
        hand.ended(FEW, metadata={"team": "a"}).batch.id,
        hand.ended(FEW, half, metadata={"team": "b"}).batch.id,
        hand.submit(FEW),
        hand.submit(FEW, plan=False, model="org/a-model-with-a-long-name-for-a-screen"),
    ][::-1]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_list_fits_the_terminal(place, ids, width):
    screen = run_in_terminal(place, width, "list")
    assert screen.code == 0
    assert max(map(len, screen.lines)) <= width
    heading, *rows, total = screen.lines
    assert heading.startswith("ID ")
    assert len(rows) == len(ids)
    assert [row.split()[1] for row in rows] == [
        "validating",
        "in_progress",
        "completed",
        "completed",
    ]
    assert total.startswith("4 batches")
    assert "10/15" in total.replace(" / ", "/")


SHOWN = {
    60: ["ID", "status", "done", "model", "runs on", "age"],
    80: ["ID", "status", "done", "model", "tokens", "cost", "runs on", "age"],
    120: [
        "ID",
        "status",
        "done",
        "failed",
        "model",
        "tokens",
        "cost",
        "runs on",
        "age",
    ],
}


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize("width", SHOWN)
def test_a_wider_terminal_shows_more_columns(place, width):
    heading = run_in_terminal(place, width, "list").lines[0]
    assert re.split(r"  +", heading) == SHOWN[width]


@pytest.mark.parametrize("width", [60, 120])
def test_each_listed_id_names_its_batch(place, ids, width):
    rows = run_in_terminal(place, width, "list").lines[1:-1]
    for row, batch_id in zip(rows, ids, strict=True):
        shown = row.split()[0]
        assert (shown == batch_id) is (width == 120)
        done = place.run("status", shown, "--json")
        assert done.json()["id"] == batch_id


@pytest.mark.usefixtures("ids")
def test_list_tells_that_no_process_runs_a_batch(place):
    rows = run_in_terminal(place, 80, "list").lines[1:-1]
    assert [" none " in row for row in rows] == [True, True, False, False]


def test_a_pipe_gets_whole_ids_and_no_limit(place, ids):
    done = place.run("list")
    assert re.findall(r"batch_[0-9a-f]{32}", done.out.decode()) == ids
    assert "org/a-model-with-a-long-name-for-a-screen" in done.out.decode()


def test_list_selects_by_status_and_metadata(place, ids):
    options = ["list", "--status", "completed", "--metadata", "team=b"]
    done = place.run(*options)
    assert re.findall(r"batch_[0-9a-f]{32}", done.out.decode()) == [ids[2]]
    assert [batch["id"] for batch in place.run(*options, "--json").json()["data"]] == [
        ids[2]
    ]
    done = place.run("list", "--metadata", "team=c")
    assert (done.code, done.out) == (0, b"")
    assert "no batches match" in done.err


@pytest.mark.usefixtures("ids")
def test_list_says_how_to_see_more(place):
    done = place.run("list", "--limit", "2")
    assert "2 batches" in done.out.decode()
    assert "hint: list more batches with `batchchat list --limit 4`" in done.err


@pytest.mark.usefixtures("ids")
def test_a_wrong_status_is_an_error_that_suggests_one(place):
    done = place.run("list", "--status", "running")
    assert done.code == 2
    done = place.run("list", "--status", "inprogress")
    assert "Did you mean 'in_progress'?" in done.err
    assert "hint: " in done.err


@pytest.mark.parametrize("width", [60, 80, 120])
def test_status_fits_the_terminal(place, ids, width):
    screen = run_in_terminal(place, width, "status", ids[1])
    split = screen.lines.index("")
    rows = {line[:12].strip() for line in screen.lines[:split]}
    assert {"model", "priority", "elapsed", "deadline", "cost", "output"} <= rows
    assert max(map(len, screen.lines)) <= width
    hint = screen.lines[split + 1 :]
    assert " ".join(line.strip() for line in hint) == (
        f"hint: no process is running it; continue with `batchchat resume {ids[1]}`"
    )
