"""The run of a single batch, on the echo engine."""

import json
import time
from threading import Timer

import pytest

from batchchat.jobs.errors import (
    CorruptObjectError,
    EngineError,
    StorageError,
)
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.recovery import RecoveredResults
from batchchat.jobs.ledger.submission import cancel_batch
from batchchat.workers.engine.echo_core import echo
from batchchat.workers.local.batch_lock import BatchLockedError, batch_lock
from tests.support.running import SETTINGS, Bench, lines, text
from tests.unit.workers.test_shard_host import Outage


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_every_request_gets_one_result_in_input_order(bench):
    state = bench.run(bench.submit(lines(50)))
    output, errors = bench.results(state)
    assert [result["custom_id"] for result in output] == [f"q-{i}" for i in range(50)]
    assert errors == []
    assert state.status == "completed"


def test_usage_of_the_batch_is_the_sum_of_its_results(bench):
    state = bench.run(bench.submit(lines(20)))
    output, _ = bench.results(state)
    used = [result["response"]["body"]["usage"] for result in output]
    assert state.usage().input_tokens == sum(u["prompt_tokens"] for u in used)
    assert state.usage().output_tokens == sum(u["completion_tokens"] for u in used)
    assert state.engine_seconds() > 0


def test_the_same_batch_seed_gives_the_same_answers(bench):
    first, second = (bench.run(bench.submit(lines(20), seed=5)) for _ in range(2))
    other = bench.run(bench.submit(lines(20), seed=6))
    texts = [[text(r) for r in bench.results(s)[0]] for s in (first, second, other)]
    assert texts[0] == texts[1] != texts[2]


def test_a_result_contains_its_seed(bench):
    output, _ = bench.results(bench.run(bench.submit(lines(1, seed=7))))
    assert output[0]["response"]["body"]["seed"] == 7


def test_an_invalid_line_fails_the_batch(bench):
    state = bench.run(bench.submit(lines(3) + b"{\n"))
    assert state.status == "failed"
    assert [p.code for p in state.require_plan().problems] == ["invalid_json_line"]


def test_skipped_invalid_lines_become_error_lines(bench):
    data = b"{\n" + lines(9) + lines(1)
    state = bench.run(bench.submit(data, on_invalid="skip"))
    output, errors = bench.results(state)
    assert len(output) == 9
    codes = [e["response"]["body"]["error"]["code"] for e in errors]
    assert codes == ["invalid_json_line", "duplicate_custom_id"]
    assert (state.counts().completed, state.counts().failed) == (9, 2)


def test_a_prompt_too_long_for_the_model_is_an_error_line(bench):
    long = {"messages": [{"role": "user", "content": "x" * 600}]}
    data = lines(5) + json.dumps({"custom_id": "long", **long}).encode()
    output, errors = bench.results(bench.run(bench.submit(data, on_invalid="skip")))
    assert len(output) == 5
    assert errors[0]["response"]["body"]["error"]["code"] == "context_length_exceeded"


def test_zero_max_tokens_gives_an_empty_answer_without_the_engine(bench):
    output, _ = bench.results(bench.run(bench.submit(lines(1, max_tokens=0))))
    body = output[0]["response"]["body"]
    assert text(output[0]) == ""
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 0


def test_an_ended_batch_is_not_run_again(bench):
    batch_id = bench.submit(lines(3))
    assert bench.run(batch_id).final == bench.run(batch_id).final


def test_a_batch_cancelled_before_its_run_has_no_output(bench):
    batch_id = bench.submit(lines(30))
    cancel_batch(bench.ledger, batch_id)
    state = bench.run(batch_id)
    assert state.status == "cancelled"
    assert state.final.output_file_id is None


def test_a_running_batch_that_is_cancelled_accounts_for_every_line(bench):
    bench.speed = {"latency": 0.05, "capacity": 4}
    batch_id = bench.submit(lines(400))
    bench.progress.start = lambda *_: cancel_batch(bench.ledger, batch_id)
    state = bench.run(batch_id)
    output, errors = bench.results(state)
    assert state.status == "cancelled"
    assert 0 < len(output) < 400
    assert len(output) + len(errors) == 400
    assert {e["error"]["code"] for e in errors} == {"batch_cancelled"}
    assert state.counts().failed == 0


def test_a_batch_past_its_window_expires(bench):
    batch_id = bench.submit(lines(3))
    bench.clock = lambda: time.time() + 90_000
    state = bench.run(batch_id)
    assert state.status == "expired"
    assert [e["error"]["code"] for e in bench.results(state)[1]] == [
        "batch_expired"
    ] * 3


def test_a_stopped_run_can_be_resumed(bench):
    bench.speed = {"latency": 0.05, "capacity": 4}
    batch_id = bench.submit(lines(60))
    bench.progress.start = lambda *_: Timer(0.3, bench.stop.request, [0.2]).start()
    state = bench.run(batch_id)
    assert state.status == "in_progress"
    again = Bench(bench.locks, bench.storage)
    output, _ = again.results(again.run(batch_id))
    assert [result["custom_id"] for result in output] == [f"q-{i}" for i in range(60)]
    assert again.progress.recovered.completed > 0


def test_two_processes_cannot_run_the_same_batch(bench):
    batch_id = bench.submit(lines(3))
    with batch_lock(bench.locks, batch_id), pytest.raises(BatchLockedError):
        bench.run(batch_id)


def test_a_resume_with_a_changed_limit_uses_the_limit_of_the_plan(bench):
    batch_id = bench.submit(lines(3) + b" " * 2_000 + b"\n", on_invalid="skip")
    bench.settings = SETTINGS.model_copy(update={"max_line_bytes": 1_024})
    bench.stop.request(0)
    assert bench.run(batch_id).status == "in_progress"
    again = Bench(bench.locks, bench.storage)
    output, errors = again.results(again.run(batch_id))
    assert (len(output), len(errors)) == (3, 1)


def test_a_dropped_request_is_sent_to_the_engine_again(bench, monkeypatch):
    dropped: list[str] = []

    def echo_but_once(work):
        if dropped:
            return echo(work)
        dropped.append(work.key)
        return EngineError("dropped")

    monkeypatch.setattr("batchchat.workers.engine.echo_core.echo", echo_but_once)
    output, _ = bench.results(bench.run(bench.submit(lines(20))))
    assert len(output) == 20
    assert len(dropped) == 1


def test_partially_committed_shards_end_as_cancelled(bench):
    batch_id = bench.submit(lines(20))
    bench.stop.request(0)
    bench.run(batch_id)
    cancel_batch(bench.ledger, batch_id)
    keys = bench.ledger.keys.batch(batch_id)
    for shard in bench.ledger.state(batch_id).plan.shards:
        made = RecoveredResults().commit(shard.index, "a", 1)
        bench.storage.create(keys.commit(shard.index), records.encode(made))
    again = Bench(bench.locks, bench.storage)
    state = again.run(batch_id)
    assert state.status == "cancelled"
    assert len(again.results(state)[1]) == 20


def test_files_of_a_killed_finalizer_are_published_by_the_next_run(bench):
    batch_id = bench.submit(lines(3))
    file_id = bench.run(batch_id).final.output_file_id
    bench.storage.delete(bench.ledger.keys.file(file_id))
    bench.run(batch_id)
    assert bench.ledger.file(file_id).purpose == "batch_output"


def test_a_storage_failure_does_not_count_as_an_engine_death(bench):
    batch_id = bench.submit(lines(5))
    with pytest.raises(StorageError):
        bench.run(batch_id, Outage(bench.storage, 1))
    assert (
        list(bench.storage.list(bench.ledger.keys.batch(batch_id).attempt_markers(0)))
        == []
    )
    assert bench.run(batch_id).counts().completed == 5


def test_a_failed_delivery_is_repeated_by_the_next_run(bench, tmp_path):
    place = tmp_path / "place"
    place.write_text("a file in the way")
    batch_id = bench.submit(lines(3), destination=str(place), output_format="both")
    with pytest.raises(StorageError, match="place"):
        bench.run(batch_id)
    assert bench.ledger.state(batch_id).status == "completed"
    place.unlink()
    state = bench.run(batch_id)
    assert state.delivery_receipt.files == sorted(
        (path.as_uri() for path in place.iterdir()), key=lambda name: "parquet" in name
    )


def test_an_input_that_has_lost_lines_ends_the_run(bench):
    batch_id = bench.submit(lines(20))
    bench.stop.request(0)
    content = bench.ledger.keys.content(bench.run(batch_id).batch.input_file_id)
    bench.storage.put(content, bench.storage.get(content)[:-200])
    again = Bench(bench.locks, bench.storage)
    with pytest.raises(CorruptObjectError, match="has changed"):
        again.run(batch_id)
