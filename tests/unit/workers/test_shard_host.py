"""The shard host when the storage fails or loses a record."""

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import StorageError
from batchchat.jobs.execution.attempt import Attempt
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.recovery import read_part
from batchchat.jobs.planning.planner import make_plan, plan_limits
from batchchat.jobs.storage import CachedStorage
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.engine.echo_core import start_echo
from batchchat.workers.shards import shard_host as module
from batchchat.workers.shards.shard_host import ShardHost
from tests.support.memory_broker import memory_environment
from tests.support.running import ECHO, SETTINGS, Bench, EchoRegistry, lines, renderer


class Outage:
    """A storage that fails to write checkpoints and to delete, for a few calls."""

    def __init__(self, storage, calls):
        self._storage = storage
        self._left = calls
        self.url = storage.url

    def __getattr__(self, name):
        method = getattr(self._storage, name)

        def call(key, *arguments):
            away = name == "delete" or (name == "put" and key.endswith(".jsonl"))
            if away and self._left:
                self._left -= 1
                raise StorageError("away")
            return method(key, *arguments)

        return call


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WITHDRAW_RETRY_SECONDS", 0)
    return Bench(tmp_path)


def plan(bench, batch_id, settings=SETTINGS):
    ledger = bench.ledger
    renderers = EchoRegistry(Catalog({"echo": ECHO}), bench.locks)
    return make_plan(ledger, ledger.batch(batch_id), renderers, plan_limits(settings))


@pytest.fixture
def planned(bench):
    """Return the id of a batch with one shard."""
    batch_id = bench.submit(lines(5))
    plan(bench, batch_id)
    return batch_id


@pytest.fixture
def make_host():
    engine = start_echo(renderer())
    yield lambda storage: ShardHost(memory_environment(storage, SETTINGS), ECHO, engine)
    engine.close()


@pytest.mark.slow
def test_a_storage_outage_is_waited_out_and_leaves_no_crash_marker(
    bench, planned, make_host
):
    host = make_host(Outage(bench.storage, 4))
    host.run(WorkMessage.for_shard("default", planned, 0))
    keys = bench.ledger.keys.batch(planned)
    assert list(bench.storage.list(keys.attempt_markers(0))) == []
    assert host.keeper._leases.all == {}
    assert bench.ledger.commit(keys, 0) is not None


def test_a_commit_that_disappears_is_written_again(bench, planned, make_host):
    host = make_host(bench.storage)
    message = WorkMessage.for_shard("default", planned, 0)
    host.run(message)
    host.run(message)  # finds the commit
    key = bench.ledger.keys.batch(planned).commit(0)
    bench.storage.delete(key)
    host.run(message)
    assert bench.storage.size(key)


def replan(bench, batch_id):
    """Lose the plan, and plan the batch again with smaller shards."""
    bench.storage.delete(bench.ledger.keys.batch(batch_id).plan)
    bench.now += 5
    return plan(bench, batch_id, SETTINGS.model_copy(update={"shard_requests": 2}))


class TimedBench(Bench):
    """A bench whose clock a test can set."""

    now = 1_800_000_000.0

    @property
    def ledger(self):
        return Ledger(self.storage, "default", lambda: self.now)


@pytest.fixture
def timed(tmp_path):
    return TimedBench(tmp_path)


def lines_of_commit(bench, batch_id, shard):
    keys = bench.ledger.keys.batch(batch_id)
    parts = bench.ledger.commit(keys, shard).parts
    return [line.line for part in parts for line in read_part(bench.storage, part)]


def test_a_worker_runs_the_shards_of_a_plan_that_was_made_again(timed, make_host):
    first, second = timed.submit(lines(5)), timed.submit(lines(5))
    for batch_id in (first, second):
        plan(timed, batch_id)
    host = make_host(CachedStorage(timed.storage))
    for batch_id in (first, second):  # 7 is no shard: only the plan is read
        host.run(WorkMessage.for_shard("default", batch_id, 7))
        replan(timed, batch_id)
        for shard in range(3):
            host.run(WorkMessage.for_shard("default", batch_id, shard))
        found = [lines_of_commit(timed, batch_id, shard) for shard in range(3)]
        assert found == [[1, 2], [3, 4], [5]]


def test_an_attempt_does_not_commit_to_a_plan_that_was_made_meanwhile(
    timed, make_host, monkeypatch
):
    batch_id = timed.submit(lines(5))
    plan(timed, batch_id)
    host = make_host(timed.storage)
    feed = Attempt.feed

    def feed_and_replan(attempt):
        feed(attempt)
        monkeypatch.setattr(Attempt, "feed", feed)
        replan(timed, batch_id)

    monkeypatch.setattr(Attempt, "feed", feed_and_replan)
    host.run(WorkMessage.for_shard("default", batch_id, 0))
    keys = timed.ledger.keys.batch(batch_id)
    assert timed.ledger.commit(keys, 0) is None
    assert list(timed.storage.list(keys.attempt_markers(0))) == []
    for shard in range(3):
        host.run(WorkMessage.for_shard("default", batch_id, shard))
    found = [lines_of_commit(timed, batch_id, shard) for shard in range(3)]
    assert found == [[1, 2], [3, 4], [5]]


def test_a_worker_runs_nothing_while_a_batch_has_no_plan(timed, make_host):
    batch_id = timed.submit(lines(5))
    plan(timed, batch_id)
    host = make_host(timed.storage)
    host.run(WorkMessage.for_shard("default", batch_id, 7))
    timed.storage.delete(timed.ledger.keys.batch(batch_id).plan)
    host.run(WorkMessage.for_shard("default", batch_id, 0))
    assert timed.ledger.commit(timed.ledger.keys.batch(batch_id), 0) is None
