"""A process that may not use the storage takes no work, and says so."""

import logging
from threading import Thread

import pytest

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import StorageAccessError, StorageError
from batchchat.jobs.planning.planner import make_plan, plan_limits
from batchchat.jobs.storage import MemoryStorage
from batchchat.workers.broker.messages import CONTROL, WorkMessage, queue_name
from batchchat.workers.broker.status_board import as_problems
from batchchat.workers.cluster_status import (
    batch_problem,
    missing_process,
    storage_problem,
    workers_of,
)
from batchchat.workers.engine.echo_core import start_echo
from batchchat.workers.shards import shard_host as module
from batchchat.workers.shards import storage_guard
from batchchat.workers.shards.shard_host import ShardHost
from batchchat.workers.shards.storage_guard import StorageGuard
from tests.support.memory_broker import memory_environment, worker_status
from tests.support.running import ECHO, SETTINGS, Bench, EchoRegistry, lines, renderer
from tests.support.wait import wait_until


class Gate:
    """A storage of which an operator denies some keys."""

    def __init__(self, storage):
        self._storage = storage
        self.url = storage.url
        self.denied = lambda _key: False
        self.error: StorageError = StorageAccessError(
            "denied", hint="correct the clock"
        )

    def __getattr__(self, name):
        method = getattr(self._storage, name)

        def call(key, *arguments):
            if self.denied(key):
                raise self.error
            return method(key, *arguments)

        return call


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(module, "_ACCESS_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "_WITHDRAW_RETRY_SECONDS", 0)
    monkeypatch.setattr(storage_guard, "_PROBE_SECONDS", 0.0)
    monkeypatch.setattr(storage_guard, "_PAUSE", Backoff(0.01, 0.01))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def gate(bench):
    return Gate(bench.storage)


@pytest.fixture
def host(gate):
    engine = start_echo(renderer())
    host = ShardHost(memory_environment(gate, SETTINGS), ECHO, engine)
    yield host
    host.drain(0)
    engine.close()


def planned(bench):
    batch_id = bench.submit(lines(5))
    ledger = bench.ledger
    renderers = EchoRegistry(Catalog({"echo": ECHO}), bench.locks)
    make_plan(ledger, ledger.batch(batch_id), renderers, plan_limits(SETTINGS))
    return WorkMessage.for_shard("default", batch_id, 0)


def is_committed(bench, message):
    keys = bench.ledger.keys.batch(message.batch_id)
    return bench.ledger.commit(keys, 0) is not None


@pytest.mark.parametrize("suffix", ["", ".jsonl"])
def test_a_worker_without_access_takes_no_work_until_it_has_access_again(
    bench, gate, host, suffix
):
    message = planned(bench)
    gate.denied = lambda key: key.endswith(suffix) or key.startswith("doctor/")
    running = Thread(target=host.run, args=(message,))
    running.start()
    wait_until(lambda: host.guard.problem)
    assert not host.has_room(0)
    assert host.is_busy, "it is not stuck beside a full queue"
    wait_until(lambda: not host.keeper._leases.all)
    status, _ = host._status.current()
    assert status.storage_problem == "denied; correct the clock"
    gate.denied = lambda _: False
    running.join(30)
    assert host.has_room(0)
    assert host._status.current()[0].storage_problem is None
    keys = bench.ledger.keys.batch(message.batch_id)
    assert list(bench.storage.list(keys.attempt_markers(0))) == []
    host.run(message)
    assert is_committed(bench, message)


def test_a_worker_without_access_can_be_stopped(bench, gate, host):
    gate.denied = lambda _: True
    running = Thread(target=host.run, args=(planned(bench),))
    running.start()
    wait_until(lambda: host.guard.problem)
    host.drain(0)
    running.join(30)
    assert not running.is_alive()


def test_one_denied_batch_is_reported_and_stops_no_other_one(bench, gate, host):
    bad, good = planned(bench), planned(bench)
    gate.denied = lambda key: bad.batch_id in key
    host.run(bad)
    assert host.guard.problem is None
    status, _ = host._status.current()
    problems = as_problems({bad.batch_id: "denied; correct the clock"})
    assert status.batch_problems == problems
    assert host.has_room(0)
    host.run(good)
    assert is_committed(bench, good)


def test_a_denied_access_is_logged_once_a_minute(caplog):
    clock, gate = Clock(), Gate(MemoryStorage())
    guard = StorageGuard(gate, clock)
    gate.denied = lambda _: True
    with caplog.at_level(logging.WARNING):
        for _ in range(180):
            clock.now += 1
            assert guard.is_denied()
    assert len(caplog.messages) == 3
    assert not guard.has_worked
    assert "denied; correct the clock" in caplog.messages[0]


def test_an_outage_is_no_denied_access():
    gate = Gate(MemoryStorage())
    gate.denied, gate.error = lambda _: True, StorageError("away")
    guard = StorageGuard(gate, Clock())
    assert not guard.is_denied()
    assert not guard.has_worked


def test_a_denied_batch_is_reported_for_a_minute():
    clock = Clock()
    guard = StorageGuard(MemoryStorage(), clock)
    for number in range(300):
        guard.denied_batch(f"b{number}", StorageAccessError("no"))
    assert len(guard.denied_batches()) == 100
    clock.now = 61
    assert guard.denied_batches() == {}


def worker(queue, problem=None, batches=None):
    return worker_status(
        queue, storage_problem=problem, batch_problems=as_problems(batches or {})
    )


def test_a_worker_without_access_does_not_count_as_a_worker():
    workers = [worker(CONTROL), worker(queue_name(ECHO), "the clock is wrong")]
    assert workers_of(ECHO, workers) == []
    said = "worker on gpu-1: no access to the storage: the clock is wrong"
    assert missing_process(ECHO, workers) == storage_problem(workers) == said
    workers.append(worker(queue_name(ECHO)))
    assert missing_process(ECHO, workers) is None


def test_a_controller_without_access_is_reported():
    workers = [worker(CONTROL, "the keys have expired"), worker(queue_name(ECHO))]
    said = "controller on gpu-1: no access to the storage: the keys have expired"
    assert missing_process(None, workers) == said


def test_a_batch_that_a_process_cannot_read_is_reported():
    workers = [worker(CONTROL, batches={"b": "AccessDenied"})]
    said = "the controller on gpu-1 cannot read it: AccessDenied"
    assert batch_problem("b", workers) == said
    assert batch_problem("other", workers) is None
