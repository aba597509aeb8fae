"""A worker's storage that was away is no sign of a request that kills engines."""

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import StorageError
from batchchat.jobs.planning.planner import limits, make_plan
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.engine.echo_core import start_echo
from batchchat.workers.shards import shard_host as module
from batchchat.workers.shards.shard_host import ShardHost
from tests.support.memory_broker import MemoryLeases, MemoryStatusBoard
from tests.support.running import ECHO, SETTINGS, Bench, EchoRegistry, lines, renderer


class Outage:
    """A storage that takes no checkpoint and removes nothing, for a few calls."""

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
    monkeypatch.setattr(module, "_PAUSE", 0)
    return Bench(tmp_path)


def test_an_outage_of_the_storage_is_waited_for_and_is_no_evidence(bench):
    batch_id = bench.submit(lines(5))
    ledger = bench.ledger
    renderers = EchoRegistry(Catalog({"echo": ECHO}), bench.locks)
    make_plan(ledger, ledger.batch(batch_id), renderers, limits(SETTINGS))
    engine = start_echo(renderer())
    leases = MemoryLeases()
    host = ShardHost(
        Outage(bench.storage, 4),
        SETTINGS,
        ECHO,
        engine,
        leases=leases,
        status_board=MemoryStatusBoard(),
    )
    host.run(WorkMessage.for_shard("default", batch_id, 0))
    engine.close()
    keys = ledger.keys.of(batch_id)
    assert list(bench.storage.list(keys.marks(0))) == []
    assert leases.all == {}
    assert ledger.commit(keys, 0) is not None
