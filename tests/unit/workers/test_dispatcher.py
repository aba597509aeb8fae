"""The messages that the dispatcher sends for each state."""

from gc import collect
from weakref import ref

import pytest

from batchchat.jobs.ids import id_created_at, new_batch_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.submission import cancel_batch
from batchchat.workers.broker.messages import CONTROL, WorkMessage, queue_name
from batchchat.workers.control.dispatcher import Dispatcher
from tests.support.ended import MODEL, Hand, bare
from tests.support.memory_broker import (
    MemoryLeases,
    MemoryQueue,
    MemoryStatusBoard,
    memory_environment,
)
from tests.support.running import SETTINGS

QUEUE = queue_name(MODEL)


class Desk:
    """A dispatcher with its services and a clock."""

    def __init__(self):
        self.hand = Hand()
        self.leases, self.queue, self.status_board = (
            MemoryLeases(),
            MemoryQueue(),
            MemoryStatusBoard(),
        )
        self.now = 1_000.0
        self.leases.detect_flush()
        environment = memory_environment(
            self.hand.storage,
            SETTINGS,
            leases=self.leases,
            status_board=self.status_board,
            clock=lambda: self.now,
            monotonic=lambda: self.now,
        )
        self.dispatcher = Dispatcher(environment, self.queue)

    def submit(self, requests, project="default", **options):
        """Submit a planned batch with two requests per shard."""
        lines = b"".join(bare(f"{n}") + b"\n" for n in range(requests))
        batch_id = self.hand.submit(lines, **options)
        ActiveIndex(self.hand.storage).add(project, batch_id)
        return batch_id

    def sweep(self, seconds=10.0):
        """Sweep `seconds` later; return the messages sent since."""
        before = {name: len(messages) for name, messages in self.queue.queues.items()}
        self.now += seconds
        self.dispatcher.sweep()
        return [
            message
            for name, messages in self.queue.queues.items()
            for message in messages[before.get(name, 0) :]
        ]

    @property
    def ledger(self):
        return Ledger(self.hand.storage, "default", lambda: self.now)


@pytest.fixture
def desk():
    return Desk()


def shards(messages):
    return [message.shard for message in messages]


def test_a_new_batch_is_planned_once(desk):
    batch_id = desk.submit(3, plan=False)
    assert desk.sweep() == [WorkMessage("default", batch_id, "plan")]
    assert desk.sweep() == []
    desk.queue.take(CONTROL)
    desk.leases.acquire(f"default/{batch_id}/plan")
    assert desk.sweep() == []
    desk.leases.all.clear()
    assert desk.sweep() == [WorkMessage("default", batch_id, "plan")]


def test_shards_are_sent_up_to_the_target_queue_length(desk):
    batch_id = desk.submit(40)
    sent = desk.sweep()
    assert shards(sent) == list(range(8))
    assert {message.batch_id for message in sent} == {batch_id}
    assert desk.sweep() == []
    desk.leases.acquire(desk.queue.take(QUEUE).name)
    assert shards(desk.sweep()) == [8]


@pytest.mark.parametrize("how", ["leased", "committed"])
def test_a_started_or_committed_shard_frees_its_place_at_once(desk, how):
    batch_id = desk.submit(40)
    for _ in desk.sweep():
        name = desk.queue.take(QUEUE).name
        if how == "leased":
            desk.leases.acquire(name)
    if how == "committed":
        desk.hand.run(batch_id, shards=8)
    assert shards(desk.sweep(1.0))[0] == 8


def test_the_queue_length_follows_the_shards_taken_between_sweeps(desk):
    desk.submit(400)
    widths = []
    for take in (8, 16, 5, 0):
        desk.sweep(1.0)
        widths.append(len(desk.queue.queues[QUEUE]))
        for _ in range(take):
            desk.leases.acquire(desk.queue.take(QUEUE).name)
    assert widths == [8, 16, 32, 27]
    desk.sweep(1.0)
    assert len(desk.queue.queues[QUEUE]) == 27


def test_a_message_in_transit_is_not_sent_again(desk):
    desk.submit(2)
    desk.sweep()
    desk.queue.take(QUEUE)
    assert desk.sweep(1.0) == []
    assert shards(desk.sweep(10.0)) == [0]


def test_a_shard_without_commit_and_lease_is_sent_again(desk):
    batch_id = desk.submit(6)
    for _ in desk.sweep():
        desk.leases.acquire(desk.queue.take(QUEUE).name)
    desk.hand.run(batch_id, shards=1)
    assert desk.sweep() == []
    desk.leases.all.clear()
    assert shards(desk.sweep()) == [1, 2]


def test_a_shard_that_lost_its_worker_goes_first(desk):
    desk.submit(40)
    for _ in desk.sweep()[:2]:
        desk.leases.acquire(desk.queue.take(QUEUE).name)
    desk.sweep()
    desk.leases.all.clear()
    desk.sweep()
    assert shards(desk.queue.queues[QUEUE]) == [0, 1, *range(2, 10)]
    desk.sweep()
    assert len(desk.queue.queues[QUEUE]) == 10


def test_leases_count_as_held_for_a_while_after_a_flush(desk):
    desk.submit(4)
    for _ in desk.sweep():
        desk.leases.acquire(desk.queue.take(QUEUE).name)
    desk.sweep()
    desk.leases.forget()
    assert desk.sweep() == []
    assert shards(desk.sweep(SETTINGS.lease_seconds + 1)) == [0, 1]


def test_a_batch_is_finalized_when_all_shards_are_committed(desk):
    batch_id = desk.submit(4)
    desk.hand.run(batch_id)
    assert desk.sweep() == [WorkMessage("default", batch_id, "finalize")]


def test_an_ended_batch_leaves_the_active_index(desk):
    batch_id = desk.submit(4)
    desk.hand.run(batch_id)
    desk.hand.finalize(batch_id)
    assert desk.sweep() == []
    assert list(ActiveIndex(desk.hand.storage)) == []


def test_a_project_without_active_batches_uses_no_memory(desk):
    batch_id = desk.submit(4)
    desk.sweep()
    [ledger] = map(ref, desk.dispatcher._ledgers._ledgers.values())
    desk.hand.run(batch_id)
    desk.hand.finalize(batch_id)
    desk.sweep()
    assert ledger() is not None
    desk.sweep()
    collect()
    assert ledger() is None


def test_a_rejected_batch_leaves_the_active_index(desk):
    desk.hand.submit(b"{\n")
    batch_id = desk.hand.submit(b"{\n")
    ActiveIndex(desk.hand.storage).add("default", batch_id)
    assert desk.sweep() == []
    assert list(ActiveIndex(desk.hand.storage)) == []


@pytest.mark.parametrize("how", ["cancelled", "expired"])
def test_a_cancelled_or_expired_batch_is_finalized_once_no_shard_is_leased(desk, how):
    batch_id = desk.submit(4)
    for _ in desk.sweep():
        desk.leases.acquire(desk.queue.take(QUEUE).name)
    if how == "cancelled":
        cancel_batch(desk.ledger, batch_id)
    else:
        desk.now += 100_000
    assert desk.sweep() == []
    assert desk.status_board.stops == {batch_id}
    desk.leases.all.clear()
    assert desk.sweep() == [WorkMessage("default", batch_id, "finalize")]


def test_a_high_priority_goes_before_a_low_priority(desk):
    low, high = desk.submit(8, priority="low"), desk.submit(8, priority="high")
    sent = [message.batch_id for message in desk.sweep()]
    assert sent == [high] * 4 + [low] * 4


def test_projects_share_the_workers_equally(desk):
    first = desk.submit(100)
    ledger = Ledger(desk.hand.storage, "other", lambda: desk.now)
    hand = Hand(desk.hand.storage)
    hand.__class__ = type("Other", (Hand,), {"ledger": property(lambda _: ledger)})
    second = hand.submit(b"".join(bare(f"{n}") + b"\n" for n in range(100)))
    ActiveIndex(desk.hand.storage).add("other", second)
    sent = [message.batch_id for message in desk.sweep()]
    assert sorted(sent) == sorted([first, second] * 4)


def test_an_old_index_entry_without_a_batch_is_removed(desk):
    batch_id = new_batch_id()
    ActiveIndex(desk.hand.storage).add("default", batch_id)
    desk.now = id_created_at(batch_id) + 23 * 3600
    desk.sweep()
    assert len(list(ActiveIndex(desk.hand.storage))) == 1
    desk.now = id_created_at(batch_id) + 25 * 3600
    desk.sweep()
    assert list(ActiveIndex(desk.hand.storage)) == []


def test_a_corrupt_batch_is_logged_once_and_delays_no_other(desk, caplog):
    broken, whole = desk.submit(2), desk.submit(2)
    desk.hand.storage.put(desk.ledger.keys.batch(broken).batch, b"{")
    assert [message.batch_id for message in desk.sweep()] == [whole]
    desk.sweep()
    assert [broken in message for message in caplog.messages] == [True]
    assert [batch.id for batch in desk.ledger.batches()] == [whole]


def test_a_replaced_plan_is_noticed_within_a_minute(desk):
    batch_id = desk.submit(2)
    desk.sweep()
    key = desk.ledger.keys.batch(batch_id).plan
    desk.hand.storage.put(key, b"{")
    assert desk.sweep(61.0) == [WorkMessage("default", batch_id, "plan")]
    assert desk.ledger.plan(batch_id) is None


def test_an_ended_batch_stays_active_until_it_is_delivered(desk):
    batch_id = desk.submit(2, destination="s3://bucket/x")
    desk.hand.run(batch_id)
    desk.hand.finalize(batch_id)
    due = [WorkMessage("default", batch_id, "deliver")]
    assert desk.dispatcher.sweep() == due
    trouble = records.DeliveryAttempt(int(desk.now), 3, "away", int(desk.now) + 20)
    keys = desk.ledger.keys.batch(batch_id)
    desk.hand.storage.put(keys.delivery_attempt, records.encode(trouble))
    assert desk.dispatcher.sweep() == []
    desk.now += 20
    assert desk.dispatcher.sweep() == due
    assert list(ActiveIndex(desk.hand.storage)) == [("default", batch_id)]
    done = records.DeliveryReceipt(int(desk.now))
    desk.hand.storage.create(keys.delivery_receipt, records.encode(done))
    desk.now += SETTINGS.controller_interval_seconds
    assert desk.dispatcher.sweep() == []
    assert list(ActiveIndex(desk.hand.storage)) == []
    assert not any(desk.queue.queues.values())
