"""A running batch that runs out of disk space for a while, and is cancelled."""

import json
import signal
from dataclasses import dataclass
from typing import Any

import pytest

from tests.acceptance.command import TINY, Done, Place
from tests.acceptance.inputs import custom_ids, lognormal
from tests.acceptance.stored import checkpoints

pytestmark = pytest.mark.slow

REQUESTS = lognormal(600, middle=300, most=1_500)
SETTINGS = {
    "shard_requests": 100,
    "checkpoint_seconds": 0.5,
    "retry_timeout_seconds": 120,
    "simulated_tokens_per_second": 100,
}


@dataclass
class Cancelled:
    """What commands printed while the batch ran, and how the run ended."""

    place: Place
    while_running: dict[str, Done]
    cancel: Done
    run: Done

    @property
    def batch(self) -> dict[str, Any]:
        """The batch as the run printed it at its end."""
        batch: dict[str, Any] = self.run.json()
        return batch

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return what a file holds that the run wrote."""
        data = (self.place.folder / name).read_bytes()
        return [json.loads(line) for line in data.splitlines()]


@pytest.fixture(scope="module")
def cancelled(make_place):
    place = make_place()
    file = place.file("requests.jsonl", REQUESTS)
    options = ["--model", "demo", "--output", "out.jsonl", "--json"]
    run = place.start("submit", file, *options, settings=SETTINGS)
    run.until(lambda: checkpoints(place.storage))
    batch_id = run.err.read_text().partition("\n")[0]
    looks = {
        "status": place.run("status", batch_id, "--json"),
        "results": place.run("results", batch_id),
        "resume": place.run("resume", batch_id),
        "retry": place.run("retry", batch_id),
    }
    run.limit_files(TINY)
    run.until_it_says("waiting for the storage: no room to write")
    run.limit_files()
    before = len(checkpoints(place.storage))
    run.until(lambda: len(checkpoints(place.storage)) > before + 1)
    run.signal(signal.SIGSTOP)  # or it might end before the command looks again
    cancel = place.run("cancel", batch_id)
    run.signal(signal.SIGCONT)
    return Cancelled(place, looks, cancel, run.end())


def test_running_batch_is_in_progress(cancelled):
    batch = cancelled.while_running["status"].json()
    assert batch["status"] == "in_progress"
    assert batch["request_counts"]["total"] == 600
    assert batch["output_file_id"] is batch["completed_at"] is None


def test_results_of_a_running_batch_are_those_that_are_finished(cancelled):
    done = cancelled.while_running["results"]
    found = [json.loads(line)["custom_id"] for line in done.out.splitlines()]
    assert done.code == 0
    assert 0 < len(found) < 600
    assert {*found} <= {line["custom_id"] for line in cancelled.lines("out.jsonl")}


@pytest.mark.parametrize("command", ["retry", "resume"])
def test_running_batch_is_not_retried_or_resumed(cancelled, command):
    done = cancelled.while_running[command]
    assert (done.code, done.out) == (2, b"")
    assert "error: " in done.err
    status = f"batchchat status {cancelled.batch['id']}"
    assert f"hint: see its progress with `{status}`" in done.err


def test_cancel_prints_cancelling(cancelled):
    assert (cancelled.cancel.code, cancelled.cancel.out) == (0, b"cancelling\n")


def test_run_reports_the_cancellation(cancelled):
    assert cancelled.run.code == 1
    assert "cancelled  " in cancelled.run.err
    assert "Traceback" not in cancelled.run.err
    batch = cancelled.batch
    assert batch["status"] == "cancelled"
    assert batch["cancelled_at"] >= batch["cancelling_at"] >= batch["in_progress_at"]


def test_finished_results_are_kept_and_the_rest_are_error_lines(cancelled):
    output = [line["custom_id"] for line in cancelled.lines("out.jsonl")]
    errors = [line["custom_id"] for line in cancelled.lines("out.errors.jsonl")]
    asked = custom_ids(REQUESTS)
    assert output
    assert errors
    assert output == [custom_id for custom_id in asked if custom_id in set(output)]
    assert errors == [custom_id for custom_id in asked if custom_id not in set(output)]


def test_requests_that_never_ran_do_not_count_as_failed(cancelled):
    output, errors = (cancelled.lines(f"out.{it}jsonl") for it in ("", "errors."))
    assert {line["error"]["code"] for line in errors} == {"batch_cancelled"}
    assert {line["response"] for line in errors} == {None}
    counts = {"total": 600, "completed": len(output), "failed": 0}
    assert cancelled.batch["request_counts"] == counts


def test_usage_counts_only_kept_results(cancelled):
    used = [line["response"]["body"]["usage"] for line in cancelled.lines("out.jsonl")]
    usage = cancelled.batch["usage"]
    assert usage["output_tokens"] == sum(one["completion_tokens"] for one in used)
    assert usage["input_tokens"] == sum(one["prompt_tokens"] for one in used)


def test_cancelled_batch_stays_cancelled(cancelled):
    place, batch = cancelled.place, cancelled.batch
    assert place.run("cancel", batch["id"]).out == b"cancelled\n"
    resumed = place.run("resume", batch["id"], "--json")
    assert (resumed.code, resumed.json()) == (1, batch)


def test_batch_without_a_run_is_cancelled_immediately(place):
    batch_id = place.hand_in(place.file("requests.jsonl", REQUESTS))
    done = place.run("cancel", batch_id, "--json")
    assert (done.code, done.json()["status"]) == (0, "cancelled")
    assert done.json()["output_file_id"] is None


@pytest.mark.parametrize("command", ["watch", "resume"])
def test_a_batch_cancelled_before_it_was_checked_is_incomplete(place, command):
    batch_id = place.hand_in(place.file("requests.jsonl", REQUESTS))
    assert place.run("cancel", batch_id).out == b"cancelled\n"
    done = place.run(command, batch_id)
    assert done.code == 1
    assert "cancelled  0 of 0 requests" in done.err
    assert "hint: submit the file again" in done.err
