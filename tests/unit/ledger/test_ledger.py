"""The ledger reads the records of a batch and adds them up."""

from decimal import Decimal

import pytest

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import ConflictError, NotFoundError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Cancel, Counts
from batchchat.jobs.storage import MemoryStorage
from tests.support.batch_records import BATCH, OUTCOME, commit, new_ledger, plan


@pytest.fixture
def ledger():
    return new_ledger()


def write(ledger, name, value):
    key = getattr(ledger.keys.batch(BATCH.id), name)
    ledger.storage.put(key, records.encode(value))


def write_commit(ledger, shard):
    key = ledger.keys.batch(BATCH.id).commit(shard)
    ledger.storage.put(key, records.encode(commit(shard)))


def test_each_object_moves_the_status_on(ledger):
    seen = [ledger.state(BATCH.id).status]
    write(ledger, "plan", plan())
    seen.append(ledger.state(BATCH.id).status)
    for shard in (1, 0):
        write_commit(ledger, shard)
        seen.append(ledger.state(BATCH.id).status)
    write(ledger, "final", OUTCOME)
    seen.append(ledger.state(BATCH.id).status)
    expected = ["validating", "in_progress", "in_progress", "finalizing", "completed"]
    assert seen == expected


def test_a_plan_without_shards_has_failed(ledger):
    write(ledger, "plan", plan(shards=0))
    assert ledger.state(BATCH.id).status == "failed"
    assert ledger.state(BATCH.id).is_terminal


def test_a_cancellation_request_is_read(ledger):
    assert ledger.cancel(BATCH.id) is None
    write(ledger, "cancel", Cancel(5))
    assert ledger.cancel(BATCH.id) == Cancel(5)
    state = ledger.state(BATCH.id)
    assert (state.status, state.cancelled_at) == ("cancelling", 5)


def test_counts_usage_and_cost_are_those_of_the_commits(ledger):
    write(ledger, "plan", plan(shards=3))
    for shard in (0, 2):
        write_commit(ledger, shard)
    state = ledger.state(BATCH.id)
    assert state.pending() == [1]
    assert state.counts() == Counts(30, 16, 4)
    assert state.usage() == Usage(298, 18, 676)
    assert state.cost() == 2 * Decimal("0.00035493")
    assert state.engine_seconds() == 3.0


def test_the_final_record_determines_the_status(ledger):
    write(ledger, "plan", plan())
    write_commit(ledger, 0)
    write(ledger, "final", OUTCOME)
    state = ledger.state(BATCH.id)
    assert (state.counts(), state.usage()) == (OUTCOME.counts, OUTCOME.usage)
    assert (state.cost(), state.engine_seconds()) == (Decimal("0.5"), 4.0)


def test_a_batch_without_a_plan_counts_nothing(ledger):
    state = ledger.state(BATCH.id)
    assert (state.counts(), state.usage()) == (Counts(), Usage())
    assert (state.cost(), state.pending()) == (None, [])
    with pytest.raises(ConflictError):
        state.require_plan()


@pytest.mark.parametrize("batch_id", ["batch_" + "0" * 32, "batch_1", "../x", ""])
def test_an_unknown_batch_is_not_found(ledger, batch_id):
    with pytest.raises(NotFoundError):
        ledger.state(batch_id)


def test_a_batch_of_another_project_is_not_found(ledger):
    with pytest.raises(NotFoundError):
        Ledger(ledger.storage, "other").state(BATCH.id)


class Counting(MemoryStorage):
    """Counts the names that listings bring."""

    names = 0

    def folders(self, prefix, after="", before=""):
        for name in super().folders(prefix, after, before):
            self.names += 1
            yield name


DAY = 86_400
NOW = 2_000_000_000


def batch_made(at, number=0):
    return f"batch_{at * 1000:012x}{number:020x}"


def test_ids_are_newest_first_and_older_ones_are_listed_on_demand():
    storage = Counting()
    ledger = Ledger(storage, "p", lambda: NOW)
    ages = [*range(0, DAY, 3_600), *range(2 * DAY, 400 * DAY, DAY)]
    ids = [batch_made(NOW - age) for age in ages]
    for batch_id in ids:
        storage.put(ledger.keys.batch(batch_id).batch, b"{}")
    found = ledger.batch_ids()
    assert [next(found) for _ in range(20)] == ids[:20]
    assert storage.names == 24
    assert [*found] == ids[20:]
    assert storage.names == len(ids)
    storage.names = 0
    assert next(ledger.batch_ids(ids[100])) == ids[101]
    assert storage.names < 3
    assert [*ledger.batch_ids(ids[-3])] == ids[-2:]
    assert [*ledger.batch_ids(batch_made(0))] == []


def test_a_fast_clock_hides_no_batch():
    storage = Counting()
    ledger = Ledger(storage, "p", lambda: NOW)
    batch_id = batch_made(NOW + 9 * DAY)
    storage.put(ledger.keys.batch(batch_id).batch, b"{}")
    assert [*ledger.batch_ids()] == [batch_id]
