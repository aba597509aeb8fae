"""What the commands show of a batch that runs, or that was killed while it ran."""

import json
import signal

import pytest

from batchchat.jobs.storage import open_storage
from tests.acceptance.inputs import few, line
from tests.acceptance.stored import checkpointed, checkpoints
from tests.support.ended import Hand, whole

SETTINGS = {"simulated_tokens_per_second": 5, "checkpoint_seconds": 0.2}
QUICK = few(20)
REQUESTS = QUICK + b"".join(
    line(f"slow-{n}", f"Slow {n}", max_tokens=400) for n in range(20)
)


@pytest.fixture(scope="module")
def running(make_place):
    """A batch of which half is checkpointed and nothing committed."""
    place = make_place()
    file = place.file("requests.jsonl", REQUESTS)
    run = place.start("submit", file, "--model", "demo", settings=SETTINGS)
    run.until(lambda: len(checkpointed(checkpoints(place.storage))) == 20)
    return place, run, run.out.read_text().strip()


@pytest.fixture(scope="module")
def looks(running):
    """What the commands print while the batch runs, and after it was killed."""
    place, run, batch_id = running
    follow = place.start("results", batch_id, "--follow", "--head", "20")
    found = {
        "status": place.run("status", batch_id),
        "list": place.run("list"),
        "results": place.run("results", batch_id),
        "head": place.run("results", batch_id, "--head", "5"),
        "output": place.run("results", batch_id, "--output", "x.jsonl"),
        "follow": follow.end(),
    }
    run.signal(signal.SIGKILL)
    run.process.wait()
    return found | {"watch": place.run("watch", batch_id)}


def test_status_and_list_count_checkpointed_results(looks):
    assert "20 / 40 requests (50%)" in looks["status"].out.decode()
    assert "20 / 40" in looks["list"].out.decode()


def test_results_prints_what_is_finished(looks):
    assert looks["results"].code == 0
    lines = [json.loads(text) for text in looks["results"].out.splitlines()]
    assert [it["custom_id"] for it in lines] == [f"q-{n}" for n in range(20)]
    assert "20 of 40 requests are finished" in looks["results"].err


def test_head_prints_the_first_results(looks):
    first = looks["results"].out.splitlines()[:5]
    assert looks["head"].out.splitlines() == first


def test_follow_prints_results_until_its_limit(looks):
    assert looks["follow"].code == 0
    assert sorted(looks["follow"].out.splitlines()) == sorted(
        looks["results"].out.splitlines()
    )


def test_unfinished_results_are_not_written_to_a_file(looks):
    assert looks["output"].code == 2
    assert "20 of 40 requests are finished" in looks["output"].err


def test_watch_ends_when_no_process_runs_the_batch(looks, running):
    assert looks["watch"].code == 2
    error = f"no process is running `{running[2]}`; 20 of 40 requests are finished"
    assert error in looks["watch"].err
    assert "batchchat resume" in looks["watch"].err


def test_an_interrupt_reports_the_finished_results_and_the_answers_stay(looks, running):
    place, _, batch_id = running
    run = place.start("resume", batch_id, settings=SETTINGS | {"grace_seconds": 0.2})
    run.until_it_says("running")
    run.signal(signal.SIGINT)
    assert "stopped: 20 of 40 requests are finished" in run.end().err
    fast = {"simulated_tokens_per_second": 10_000}
    assert place.run("resume", batch_id, settings=fast).code == 0
    final = place.run("results", batch_id).out.splitlines()
    assert final[:20] == looks["results"].out.splitlines()


def test_resuming_an_ended_batch_adds_nothing_to_its_log(place):
    hand = Hand(open_storage(str(place.storage)))
    batch_id = hand.ended(whole("a", "hi") + b"\n").batch.id
    done = place.run("resume", batch_id)
    assert "has already ended" in done.err
    done = place.run("logs", batch_id)
    assert (done.code, done.out) == (2, b"")
