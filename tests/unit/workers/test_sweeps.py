"""A sweep reads the batches that may have changed, concurrently, with few requests."""

from collections import Counter
from threading import Barrier

import pytest

from batchchat.jobs.errors import StorageAccessError, StorageError
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.submission import cancel_batch
from batchchat.workers.broker.messages import CONTROL, WorkMessage, queue_name
from batchchat.workers.broker.status_board import as_problems
from batchchat.workers.control.dispatcher import Dispatcher
from tests.support.ended import MODEL, Hand, bare
from tests.support.memory_broker import (
    MemoryLeases,
    MemoryQueue,
    MemoryStatusBoard,
    memory_environment,
    worker_status,
)
from tests.support.running import SETTINGS

QUEUE = queue_name(MODEL)
INTERVAL = SETTINGS.controller_interval_seconds


class CountedStorage:
    """Counts the calls to a storage; `on_call` may raise an error."""

    def __init__(self, storage):
        self._storage = storage
        self.url = storage.url
        self.calls: Counter[tuple[str, str]] = Counter()
        self.on_call = lambda _name, _key: None

    def __getattr__(self, name):
        method = getattr(self._storage, name)

        def call(key, *arguments):
            self.calls[name, key] += 1
            self.on_call(name, key)
            return method(key, *arguments)

        return call


class Office:
    """A dispatcher over a storage that counts calls."""

    def __init__(self):
        self.hand = Hand()
        self.storage = CountedStorage(self.hand.storage)
        self.leases, self.queue = MemoryLeases(), MemoryQueue()
        self.board = MemoryStatusBoard()
        self.now = 1_000.0
        environment = memory_environment(
            self.storage,
            SETTINGS,
            leases=self.leases,
            status_board=self.board,
            clock=lambda: self.now,
            monotonic=lambda: self.now,
        )
        self.dispatcher = Dispatcher(environment, self.queue)

    def submit(self, requests=2, **options):
        batch_id = self.hand.submit(
            b"".join(bare(f"{n}") + b"\n" for n in range(requests)), **options
        )
        ActiveIndex(self.hand.storage).add("default", batch_id)
        return batch_id

    def sweep(self, seconds=INTERVAL):
        """Sweep `seconds` later; return the calls by method and key."""
        self.now += seconds
        self.storage.calls.clear()
        self.dispatcher.sweep()
        return self.storage.calls

    def keys(self, batch_id):
        return self.hand.ledger.keys.batch(batch_id)


@pytest.fixture
def office():
    return Office()


def test_the_known_records_of_a_small_batch_take_one_request(office):
    batch_id = office.submit()
    office.sweep()
    office.leases.acquire(office.queue.take(QUEUE).name)
    top = f"{office.keys(batch_id).top}/"
    assert office.sweep() == {("list", "active/"): 1, ("list", top): 1}


def test_a_large_batch_is_not_listed_with_its_checkpoints(office):
    batch_id = office.submit(80)  # forty shards
    office.sweep()
    office.leases.acquire(office.queue.take(QUEUE).name)
    called = office.sweep()
    assert called["list", f"{office.keys(batch_id).top}/"] == 0
    assert called["list", office.keys(batch_id).commits] == 1


def test_batches_are_read_concurrently(office):
    for _ in range(4):
        office.submit()
    together = Barrier(4)
    office.storage.on_call = lambda name, key: (
        together.wait(30) if name == "list" and key != "active/" else None
    )
    office.sweep()
    assert len(office.queue.queues[QUEUE]) == 4


@pytest.mark.parametrize("plan", [True, False])
def test_a_batch_that_waits_is_read_ever_more_rarely(office, plan):
    batch_id = office.submit(plan=plan)
    top = f"{office.keys(batch_id).top}/"
    reads = [office.sweep()["list", top] for _ in range(100)]
    assert reads[:7] == [1, 0, 1, 0, 0, 0, 1]
    assert sum(reads[50:]) <= 4, "about 3,000 a day"


def test_a_batch_that_workers_have_is_read_in_each_sweep(office):
    batch_id = office.submit()
    office.sweep()
    office.leases.acquire(office.queue.take(QUEUE).name)
    top = f"{office.keys(batch_id).top}/"
    assert [office.sweep()["list", top] for _ in range(20)] == [1] * 20


def test_a_cancellation_of_a_waiting_batch_is_seen_by_the_next_sweep(office):
    batch_id = office.submit()
    for _ in range(20):
        office.sweep()
    cancel_batch(office.hand.ledger, batch_id)
    ActiveIndex(office.hand.storage).touch("default", batch_id)
    office.sweep(0.1)
    sent = {message.name for message in office.queue.queues[CONTROL]}
    assert sent == {WorkMessage("default", batch_id, "finalize").name}


def test_what_this_controller_has_changed_is_read_by_the_next_sweep(office):
    batch_id = office.submit()
    for _ in range(20):
        office.sweep()
    office.dispatcher.touch(batch_id)
    assert office.sweep(0.1)["list", f"{office.keys(batch_id).top}/"] == 1


def test_an_unreadable_batch_delays_no_other_one_and_is_read_ever_more_rarely(office):
    bad, good = office.submit(), office.submit()
    top = office.keys(bad).top

    def deny(_name, key):
        if key.startswith(top):
            raise StorageAccessError("denied")

    office.storage.on_call = deny
    denied = []
    for _ in range(50):
        called = office.sweep()
        denied.append(sum(n for (_, key), n in called.items() if key.startswith(top)))
    assert {message.batch_id for message in office.queue.queues[QUEUE]} == {good}
    assert sum(denied) < 15
    office.storage.on_call = lambda *_: None
    for _ in range(20):
        office.sweep()
    assert {message.batch_id for message in office.queue.queues[QUEUE]} == {bad, good}


def test_a_batch_is_read_again_at_once_after_an_outage(office):
    batch_id = office.submit()

    def fail(_name, key):
        if key != "active/":
            raise StorageError("away")

    office.storage.on_call = fail
    for _ in range(20):
        office.sweep()
    office.storage.on_call = lambda *_: None
    office.sweep()
    assert [message.batch_id for message in office.queue.queues[QUEUE]] == [batch_id]


def test_queues_are_topped_up_between_sweeps_without_the_storage(office):
    office.submit(80)
    office.sweep()
    taken = [office.queue.take(QUEUE).name for _ in range(8)]
    office.storage.calls.clear()
    office.now += 0.1
    office.dispatcher.top_up()
    assert not office.storage.calls
    sent = {message.name for message in office.queue.queues[QUEUE]}
    assert len(sent) == 16, "twice as many as were taken"
    assert not sent & {*taken}


def test_a_shard_is_not_sent_again_before_its_batch_is_read_again(office):
    batch_id = office.submit(2)
    office.sweep()
    name = office.queue.take(QUEUE).name
    office.leases.acquire(name)
    office.sweep()
    office.hand.run(batch_id)
    office.leases.release(name)
    for _ in range(3):
        office.now += 0.1
        office.dispatcher.top_up()
        office.dispatcher.sweep()
    assert office.queue.queues[QUEUE] == []


def test_a_batch_that_may_not_be_planned_is_tried_once_a_minute_and_reported(office):
    batch_id = office.submit(plan=False)
    office.sweep()
    sent = 0
    for _ in range(60):
        if office.queue.queues[CONTROL]:
            office.queue.take(CONTROL)
            sent += 1
            office.dispatcher.note_denied(batch_id, "AccessDenied")
        office.sweep(3.0)
    assert 3 <= sent <= 4
    assert office.dispatcher.problems == {batch_id: "AccessDenied"}
    office.dispatcher.note_denied(batch_id, None)
    assert office.dispatcher.problems == {}


def test_a_batch_that_a_worker_cannot_read_is_run_after_all_others(office):
    bad, good = office.submit(40), office.submit(40)
    office.board.told = [
        worker_status(QUEUE, batch_problems=as_problems({bad: "AccessDenied"})),
        worker_status(QUEUE, storage_problem="the clock is wrong"),
    ]
    office.sweep()
    sent = office.queue.queues[QUEUE]
    assert len(sent) == 8, "a worker that may not use the storage does not count"
    assert {message.batch_id for message in sent} == {good}


def test_batches_beyond_the_memory_wait_and_each_project_has_its_turn(office):
    office.dispatcher._watch._max_bytes = 3 * 21_000
    greedy = [office.submit(4) for _ in range(20)]
    modest = Hand(office.hand.storage, project="modest")
    small = modest.submit(bare("x") + b"\n")
    ActiveIndex(office.hand.storage).add("modest", small)
    ran: list[str] = []
    for _ in range(60):
        office.sweep(60.0)
        calls = office.sweep(60.0)
        assert len(office.dispatcher._watch._watched) <= 4
        assert len({key.split("/")[3] for _, key in calls if "/batches/" in key}) <= 4
        for message in office.queue.queues.pop(QUEUE, []):
            ran.append(message.batch_id)
            hand = modest if message.project == "modest" else office.hand
            hand.run(message.batch_id)
            hand.finalize(message.batch_id)
        assert small in ran
    assert {*ran} == {*greedy, small}
