"""The shard host when the storage fails or loses a record."""

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import StorageError
from batchchat.jobs.planning.planner import make_plan, plan_limits
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


@pytest.fixture
def planned(bench):
    """Return the id of a batch with one shard."""
    batch_id = bench.submit(lines(5))
    ledger = bench.ledger
    renderers = EchoRegistry(Catalog({"echo": ECHO}), bench.locks)
    make_plan(ledger, ledger.batch(batch_id), renderers, plan_limits(SETTINGS))
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
