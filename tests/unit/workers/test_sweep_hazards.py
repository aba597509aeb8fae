"""Sweeps despite late extensions, foreign objects, and batches that are unreadable."""

from decimal import Decimal

import pytest

from batchchat.jobs.errors import NewerFormatError, StorageError
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.cost_limit import MAX_COST_REACHED
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.submission import extend_batch
from batchchat.workers.broker.messages import CONTROL
from tests.unit.workers.test_sweeps import INTERVAL, QUEUE, Office

HOUR = 3_600


@pytest.fixture
def office():
    return Office()


def extended(office):
    """Return a batch whose deadline passes in a second and was extended just now."""
    batch_id = office.submit(completion_window="1h")
    office.now += HOUR - 1 - INTERVAL
    office.sweep()
    ledger = Ledger(office.hand.storage, "default", lambda: office.now)
    extend_batch(ledger, batch_id, "1h")
    return batch_id


def test_a_deadline_that_passes_between_two_reads_does_not_end_an_extended_batch(
    office,
):
    extended(office)
    office.sweep(0.9)
    office.sweep(0.2)
    assert not office.board.stops


def test_a_deadline_that_passes_during_an_outage_does_not_end_an_extended_batch(office):
    extended(office)

    def fail(_name, key):
        if key != "active/":
            raise StorageError("away")

    office.storage.on_call = fail
    for _ in range(3):
        office.sweep()
    assert not office.board.stops


def test_foreign_objects_in_the_index_delay_no_batch(office):
    for name in ("active/note.txt", "active/a/b/c", "active/default/x", "active/A/b"):
        office.hand.storage.put(name, b"")
    batch_id = office.submit()
    office.sweep()
    assert [message.batch_id for message in office.queue.queues[QUEUE]] == [batch_id]
    assert [*ActiveIndex(office.hand.storage)] == [("default", batch_id)]


@pytest.mark.parametrize("error", [NewerFormatError, StorageError])
def test_checkpoints_that_cannot_be_read_delay_no_other_batch(office, error):
    bad, good = office.submit(max_cost=1), office.submit()
    shards = office.keys(bad).shards

    def fail(_name, key):
        if key.startswith(shards):
            raise error("unreadable")

    office.storage.on_call = fail
    office.sweep()
    assert good in {message.batch_id for message in office.queue.queues[QUEUE]}
    assert bad not in {message.batch_id for message in office.queue.queues[QUEUE]}
    office.storage.on_call = lambda *_: None
    for _ in range(3):
        office.sweep()
    assert bad in {message.batch_id for message in office.queue.queues[QUEUE]}


def test_foreign_objects_in_the_folders_of_a_batch_change_nothing(office):
    batch_id = office.submit(max_cost=1)
    keys = office.keys(batch_id)
    for key in (f"{keys.commits}00000.json.bak", f"{keys.commits}x", f"{keys.top}/x"):
        office.hand.storage.put(key, b"")
    office.hand.storage.put(f"{keys.shards}/copy-of-00000/x", b"")
    office.sweep()
    assert len(office.queue.queues[QUEUE]) == 1


def test_a_bug_that_one_batch_triggers_delays_no_other(office, caplog):
    bad, good = office.submit(), office.submit()
    top = f"{office.keys(bad).top}/"

    def fail(_name, key):
        if key == top:
            raise ZeroDivisionError

    office.storage.on_call = fail
    office.sweep()
    assert [message.batch_id for message in office.queue.queues[QUEUE]] == [good]
    assert bad in caplog.text


def test_a_batch_at_its_cost_limit_is_cancelled(office):
    batch_id = office.submit(4, max_cost=Decimal("0.000001"))
    shard = office.hand.plan(batch_id).shards[0]
    office.hand.checkpoint(batch_id, 0, office.hand.results(batch_id, shard))
    office.sweep()
    assert office.hand.ledger.cancel(batch_id).reason == MAX_COST_REACHED
    assert [message.work for message in office.queue.queues[CONTROL]] == ["finalize"]
    assert office.queue.queues[QUEUE] == []


def test_a_changed_batch_is_read_once_the_storage_works_again(office):
    batch_id = office.submit()
    for _ in range(20):
        office.sweep()
    office.dispatcher.touch(batch_id)
    top = f"{office.keys(batch_id).top}/"

    def fail(_name, key):
        if key == top:
            raise StorageError("away")

    office.storage.on_call = fail
    office.sweep(0.1)
    office.storage.on_call = lambda *_: None
    assert office.sweep(0.1)["list", top] == 1
