"""Corrupt records are written again, and no result is lost."""

import pytest

from batchchat.jobs.errors import CorruptObjectError, EngineStartError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.submission import cancel_batch
from batchchat.jobs.results.finalize import finalize
from batchchat.jobs.results.result_stream import finished_results
from batchchat.workers.broker.messages import FINALIZE, WorkMessage
from tests.support.ended import bare
from tests.support.mortal_storage import Killed, Mortal
from tests.support.running import SETTINGS, Bench, lines, text
from tests.unit.workers.test_controller import do
from tests.unit.workers.test_dispatcher import Desk

REQUESTS = 25
DAMAGES = {
    "torn": lambda data: data[: len(data) // 2],
    "altered": lambda data: data.replace(b":", b";"),
    "empty": lambda _: b"",
    "another's": lambda _: b'{"created_at":"soon"}',
}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def desk():
    return Desk()


def damage(storage, key, how="torn"):
    storage.put(key, DAMAGES[how](storage.get(key)))


def half_run(bench, batch_id, writes=9):
    """Run a batch until some shards are committed; return the key of a commit."""
    with pytest.raises(Killed):
        bench.run(batch_id, Mortal(bench.storage, writes, after=True))
    return next(bench.storage.list(bench.ledger.keys.batch(batch_id).commits)).key


def stored(bench, batch_id):
    """Return the keys of the checkpoints."""
    shards = bench.storage.list(bench.ledger.keys.batch(batch_id).shards)
    return {entry.key for entry in shards if entry.key.endswith(".jsonl")}


def answers(bench, state):
    output, errors = bench.results(state)
    assert errors == []
    return [(result["custom_id"], text(result)) for result in output]


@pytest.fixture
def undisturbed(bench):
    return answers(bench, bench.run(bench.submit(lines(REQUESTS))))


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("what", ["plan", "commit", "final"])
def test_corrupt_records_are_written_again(bench, undisturbed, what, how):
    batch_id = bench.submit(lines(REQUESTS))
    state = bench.run(batch_id)
    before, keys = stored(bench, batch_id), bench.ledger.keys.batch(batch_id)
    bench.storage.delete(keys.final) if what != "final" else None
    damage(bench.storage, {**vars(keys), "commit": keys.commit(1)}[what], how)
    assert bench.ledger.state(batch_id).corrupt
    again = bench.run(batch_id)
    assert answers(bench, again) == undisturbed
    assert again.usage() == state.usage()
    assert stored(bench, batch_id) == before
    assert not again.corrupt


def test_corrupt_records_are_quarantined(bench):
    batch_id = bench.submit(lines(REQUESTS))
    half_run(bench, batch_id)
    keys = bench.ledger.keys.batch(batch_id)
    damage(bench.storage, keys.plan)
    torn = bench.storage.get(keys.plan)
    bench.run(batch_id)
    assert bench.storage.get(keys.quarantined(keys.plan)) == torn


def test_a_shard_with_a_corrupt_commit_and_checkpoint_runs_again(bench, undisturbed):
    batch_id = bench.submit(lines(REQUESTS))
    bench.run(batch_id)
    keys = bench.ledger.keys.batch(batch_id)
    bench.storage.delete(keys.final)
    commit = bench.ledger.commit(keys, 0)
    damage(bench.storage, commit.parts[0].key)
    damage(bench.storage, keys.commit(0))
    assert answers(bench, bench.run(batch_id)) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("what", ["plan", "commit"])
def test_a_repair_killed_at_any_write_ends_with_the_same_results(tmp_path, what):
    deadline, survived = 0, False
    while not survived:
        deadline += 1
        bench = Bench(tmp_path)
        batch_id = bench.submit(lines(REQUESTS))
        commit, plan = half_run(bench, batch_id), bench.ledger.keys.batch(batch_id).plan
        damage(bench.storage, plan if what == "plan" else commit)
        try:
            bench.run(batch_id, Mortal(bench.storage, deadline, after=True))
            survived = True
        except Killed:
            pass
        ended = bench.run(batch_id)
        assert [name for name, _ in answers(bench, ended)] == [
            f"q-{number}" for number in range(REQUESTS)
        ]
    assert deadline > 5


def test_a_plan_that_cannot_be_rebuilt_fails_the_batch_with_a_reason(bench):
    batch_id = bench.submit(lines(REQUESTS))
    half_run(bench, batch_id)
    damage(bench.storage, bench.ledger.keys.batch(batch_id).plan)
    bench.settings = SETTINGS.model_copy(update={"shard_requests": 9})
    state = bench.run(batch_id)
    assert state.status == "failed"
    assert [problem.code for problem in state.require_plan().problems] == [
        "plan_damaged"
    ]


def test_a_corrupt_cancellation_request_counts(bench):
    batch_id = bench.submit(lines(REQUESTS))
    half_run(bench, batch_id)
    cancel_batch(bench.ledger, batch_id)
    damage(bench.storage, bench.ledger.keys.batch(batch_id).cancel)
    assert bench.run(batch_id).status == "cancelled"


def test_a_cancelled_batch_with_a_corrupt_plan_keeps_its_results(bench):
    batch_id = bench.submit(lines(REQUESTS))
    half_run(bench, batch_id)
    damage(bench.storage, bench.ledger.keys.batch(batch_id).plan)
    cancel_batch(bench.ledger, batch_id)
    with pytest.raises(CorruptObjectError):
        finalize(bench.ledger, batch_id, "cancelled")
    output, errors = bench.results(bench.run(batch_id))
    assert output
    assert len(output) + len(errors) == REQUESTS


def test_results_with_a_corrupt_plan_are_an_error(bench):
    state = bench.run(bench.submit(lines(3)))
    damage(bench.storage, bench.ledger.keys.batch(state.batch.id).plan)
    state = bench.ledger.state(state.batch.id)
    assert state.status == "completed"
    with pytest.raises(CorruptObjectError):
        list(finished_results(bench.ledger, state, 0))


def test_a_corrupt_commit_that_was_cached_is_written_again(desk):
    batch_id = desk.submit(4)
    desk.hand.run(batch_id)
    assert desk.sweep() == [WorkMessage("default", batch_id, FINALIZE)]
    damage(desk.hand.storage, desk.ledger.keys.batch(batch_id).commit(1))
    state = do(desk.hand, EngineStartError("none is needed"), batch_id, FINALIZE)
    assert state.pending() == [1]
    desk.queue.queues.clear()
    assert desk.sweep(61.0) == [WorkMessage.for_shard("default", batch_id, 1)]


def test_a_corrupt_delivery_receipt_repeats_the_delivery(desk):
    batch_id = desk.hand.submit(bare("hi") + b"\n", destination="s3://bucket/x")
    ActiveIndex(desk.hand.storage).add("default", batch_id)
    desk.hand.run(batch_id)
    desk.hand.finalize(batch_id)
    key = desk.ledger.keys.batch(batch_id).delivery_receipt
    desk.hand.storage.put(key, records.encode(records.DeliveryReceipt(1))[:9])
    assert desk.dispatcher.sweep() == [WorkMessage("default", batch_id, "deliver")]
