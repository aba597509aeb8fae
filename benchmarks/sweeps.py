"""Measure the cost of a dispatcher's sweep over a batch of many shards.

    python -m benchmarks.sweeps --shards 2000 20000

A batch in a local folder, three of four shards committed, with fifteen checkpoints
each. The first sweep reads the commits, and later ones find nothing new. Reports
seconds, CPU seconds and memory.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ids import new_attempt_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.keys import BatchKeys
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Commit, Counts, Part, Plan, Shard
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import LocalStorage
from batchchat.workers.control.dispatcher import Dispatcher
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.local.in_process_broker import InProcessBroker
from benchmarks.report import report

_REQUESTS = 1_000
_PARTS = 15
_LATER = 3
"""Sweeps after the first."""


def fill(folder: Path, shards: int) -> LocalStorage:
    """Write the batch, its plan and its commits."""
    storage = LocalStorage(folder)
    ledger = Ledger(storage, "default")
    batch = create_batch(
        ledger, store_file(ledger, [b"{}\n"], "in.jsonl"), BatchOptions()
    )
    ActiveIndex(storage).add("default", batch.id)
    keys = ledger.keys.batch(batch.id)
    storage.create(keys.plan, records.encode(_plan(shards)))
    (folder / keys.commits).mkdir()
    for shard in range(shards * 3 // 4):
        (folder / keys.commit(shard)).write_bytes(records.encode(_commit(keys, shard)))
    return storage


def _plan(shards: int) -> Plan:
    size = _REQUESTS * 500
    return Plan(
        created_at=1,
        model=Model(name="m", source="m"),
        requests=shards * _REQUESTS,
        invalid_lines=0,
        shards=[
            Shard(at, at * size, size, at * _REQUESTS + 1, _REQUESTS, _REQUESTS)
            for at in range(shards)
        ],
        problems=[],
    )


def _commit(keys: BatchKeys, shard: int) -> Commit:
    attempt = new_attempt_id()
    return Commit(
        shard=shard,
        attempt=attempt,
        created_at=2,
        parts=[
            Part(keys.checkpoint(shard, attempt, number), 123_456, "ab" * 32)
            for number in range(_PARTS)
        ],
        counts=Counts(_REQUESTS, _REQUESTS, 0),
        usage=Usage(100_000, 0, 100_000),
        engine_seconds=30.0,
    )


def run(shards: int) -> dict[str, Any]:
    """Sweep over a fresh batch and return its row."""
    with tempfile.TemporaryDirectory() as name:
        storage, broker = fill(Path(name), shards), InProcessBroker()
        environment = WorkerEnvironment(
            storage=storage, settings=Settings(), leases=broker, status_board=broker
        )
        dispatcher = Dispatcher(environment, broker)
        before = _resident()
        first, _ = _swept(dispatcher)
        later = [_swept(dispatcher) for _ in range(_LATER)]
        return {
            "shards": shards,
            "first sweep s": round(first, 2),
            "later sweeps s": round(sum(one for one, _ in later) / _LATER, 2),
            "later sweeps cpu s": round(sum(cpu for _, cpu in later) / _LATER, 2),
            "memory MiB": _resident() - before,
        }


def _swept(dispatcher: Dispatcher) -> tuple[float, float]:
    began, used = time.perf_counter(), time.process_time()
    dispatcher.sweep()
    return time.perf_counter() - began, time.process_time() - used


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096 // 1024**2


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--shards", type=int, nargs="+", default=[2_000, 20_000, 40_000]
    )
    report("sweeps", [run(shards) for shards in parser.parse_args().shards])


if __name__ == "__main__":
    main()
