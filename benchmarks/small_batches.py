"""Measure many small batches on a bucket where each request takes long.

    python -m benchmarks.small_batches --milliseconds 4 40

A controller and two workers, each with its own caches, run in this process on a
storage in memory that delays and counts the requests that S3 would get. The workers
have an engine that only takes time: all requests need 16 s. Reports the time for 200
batches of 100 requests, the time of one sweep over 200 batches in progress, the time
of `list --limit 1000`, and the number of requests: for each batch, for an idle day,
and for a day of a batch that waits for a worker.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

from batchchat.cli.backends.cluster import ClusterBackend
from batchchat.cli.backends.session import Session
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage.memory import MemoryStorage
from batchchat.workers.broker.messages import CONTROL
from batchchat.workers.control.batch_planner import BatchPlanner
from batchchat.workers.control.controller import MAX_CONCURRENT_WORK, Controller
from batchchat.workers.control.dispatcher import Dispatcher
from batchchat.workers.engine.echo_core import start_echo
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.local.in_process_broker import InProcessBroker
from batchchat.workers.shards.shard_host import ShardHost
from benchmarks.report import report
from benchmarks.slow_storage import SlowStorage
from tests.support.running import ECHO, EchoRegistry, lines, renderer

_BATCHES = 200
_REQUESTS = 100
_WORKERS = 2
_LISTED = 1_000
_LATENCY_SECONDS = 0.4
"""Of the engine, which runs 256 requests at a time."""

_DAY = 86_400.0
_RENDERERS = EchoRegistry(Catalog({"echo": ECHO}), Path())


class _ClusterSession(Session):
    """A session of a cluster, whose Redis reports no progress."""

    cluster: Any = SimpleNamespace(with_progress=lambda state: state)


class Cluster:
    """A controller and workers in threads."""

    def __init__(self, storage: SlowStorage, latency: float = 0.0) -> None:
        """Use an empty broker, and engines that answer after `latency` seconds."""
        self._latency = latency
        self.broker = InProcessBroker()
        self.environment = WorkerEnvironment(
            storage=storage,
            settings=Settings(),
            leases=self.broker,
            status_board=self.broker,
        )
        self.dispatcher = Dispatcher(self.environment, self.broker)
        self._stopped = Event()

    @contextmanager
    def controlling(self) -> Iterator[Controller]:
        """Run a controller during the block."""
        controller = Controller(
            self.environment,
            BatchPlanner(self.environment, _RENDERERS),
            self.dispatcher,
            self.environment.lease_keeper(),
            deliver=lambda _: None,
        )

        def handle() -> None:
            while not self._stopped.is_set():
                if message := self.broker.receive(CONTROL, 0.1):
                    controller.handle(message)
                    self.broker.finish(message)

        threads = [Thread(target=controller.run_sweeps)]
        threads += [Thread(target=handle) for _ in range(2 * MAX_CONCURRENT_WORK)]
        with _running(threads):
            try:
                yield controller
            finally:
                self._stopped.set()
                controller.stop()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run the workers during the block."""
        with _running([Thread(target=self._work) for _ in range(_WORKERS)]):
            try:
                yield
            finally:
                self._stopped.set()

    def _work(self) -> None:
        engine = start_echo(renderer(), latency=self._latency)
        host = ShardHost(self.environment, ECHO, engine)
        active = Counter[str]()

        def run(message: Any) -> None:
            try:
                host.run(message)
            finally:
                self.broker.finish(message)
                active["now"] -= 1

        with ThreadPoolExecutor(32) as pool:
            while not self._stopped.is_set():
                if not host.has_room(active["now"]):
                    time.sleep(0.001)
                elif message := self.broker.receive(host.queue, 0.05):
                    active["now"] += 1
                    pool.submit(run, message)
            host.drain(0)
        engine.close()


@contextmanager
def _running(threads: list[Thread]) -> Iterator[None]:
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


def submit(storage: SlowStorage, batches: int, *, by: int = 32) -> list[str]:
    """Submit batches concurrently; return their ids."""
    data = lines(_REQUESTS)

    def one(_: int) -> str:
        ledger = Ledger(storage, "default")
        file = store_file(ledger, [data], "input.jsonl")
        options = BatchOptions(model="echo", seed=1)
        return create_batch(ledger, file, options, enqueue=True).id

    with ThreadPoolExecutor(by) as pool:
        return list(pool.map(one, range(batches)))


def measure_batches(seconds: float, limit: float) -> dict[str, Any]:
    """Run all batches; stop after `limit` seconds."""
    storage = SlowStorage(MemoryStorage(), seconds)
    cluster = Cluster(storage, _LATENCY_SECONDS)
    index = ActiveIndex(storage._storage)
    with cluster.controlling(), cluster.working():
        began = time.monotonic()
        ids = submit(storage, _BATCHES)
        while (left := len(list(index))) and time.monotonic() - began < limit:
            time.sleep(0.1)
        took = time.monotonic() - began
    done = len(ids) - left
    return {
        "batches done": done,
        "seconds": round(took, 1),
        "requests for each batch": round(storage.total / max(done, 1), 1),
    }


def measure_sweep(seconds: float) -> dict[str, Any]:
    """Sweep over batches that are in progress, and then over the same ones."""
    storage = SlowStorage(MemoryStorage(), 0)
    cluster = Cluster(storage)
    ids = submit(storage, _BATCHES)
    ledger = Ledger(storage, "default")
    planner = BatchPlanner(cluster.environment, _RENDERERS)
    for batch_id in ids:
        planner.plan(ledger, ledger.batch(batch_id))
        cluster.broker.acquire(f"default/{batch_id}/00000")
    storage.seconds = seconds
    took = []
    for _ in range(3):
        before, began = storage.total, time.monotonic()
        cluster.dispatcher.sweep()
        took.append((time.monotonic() - began, storage.total - before))
        time.sleep(cluster.environment.settings.controller_interval_seconds)
    return {
        "first sweep s": round(took[0][0], 2),
        "next sweep s": round(took[-1][0], 2),
        "requests of a sweep": took[-1][1],
    }


def measure_day(seconds: float, *, waiting: int) -> float:
    """Return the requests in a day of a controller with `waiting` batches."""
    storage = SlowStorage(MemoryStorage(), seconds)
    cluster = Cluster(storage)
    with cluster.controlling():
        submit(storage, waiting)
        time.sleep(120 if waiting else 20)
        before, began = storage.total, time.monotonic()
        time.sleep(120 if waiting else 40)
        counted, took = storage.total - before, time.monotonic() - began
    return counted * _DAY / took


def measure_list(seconds: float) -> dict[str, Any]:
    """List ended and unfinished batches with the command's backend."""
    storage = SlowStorage(MemoryStorage(), 0)
    cluster = Cluster(storage)
    with cluster.controlling(), cluster.working():
        submit(storage, _LISTED - _BATCHES)
        while list(ActiveIndex(storage._storage)):
            time.sleep(0.1)
    submit(storage, _BATCHES)
    storage.seconds = seconds
    storage.requests.clear()
    session = _ClusterSession(
        Settings(), Catalog({"echo": ECHO}), Ledger(storage, "default")
    )
    began = time.monotonic()
    page = ClusterBackend(session, None).newest(_LISTED)  # type: ignore[arg-type]
    took = time.monotonic() - began
    assert len(page.views) == _LISTED
    return {
        "list s": round(took, 1),
        "requests of a list": storage.total,
        "duplicate": sum(n - 1 for n in storage.requests.values()),
    }


def main() -> None:
    """Measure with each duration of a request."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--milliseconds", type=float, nargs="+", default=[4, 40])
    parser.add_argument("--limit", type=float, default=180, help="in seconds")
    parser.add_argument("--days", action="store_true", help="measure days as well")
    options = parser.parse_args()
    rows = []
    for milliseconds in options.milliseconds:
        seconds = milliseconds / 1000
        row: dict[str, Any] = {"ms": milliseconds}
        row |= measure_sweep(seconds)
        row |= measure_batches(seconds, options.limit)
        row |= measure_list(seconds)
        if options.days:
            idle = measure_day(seconds, waiting=0)
            waiting = measure_day(seconds, waiting=10)
            row["requests of an idle day"] = round(idle)
            row["of a waiting batch"] = round((waiting - idle) / 10)
        rows.append(row)
    report("small_batches", rows)


if __name__ == "__main__":
    main()
