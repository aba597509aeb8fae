"""The process of one engine among several on a machine.

It takes shards from the queue of the process that started it, and dies with it.
"""

import math
import os
import pickle
import signal
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast

from typing_extensions import override

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.catalog.engine_arguments import with_current_engine
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.execution.throughput import Throughput
from batchchat.jobs.logs import start_logging
from batchchat.jobs.settings import Settings
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage import CachedStorage, RetryingStorage, open_storage
from batchchat.workers.broker.leases import Leases
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.status_board import (
    ShardProgress,
    StatusBoard,
    WorkerStatus,
)
from batchchat.workers.engine.log_file import EngineLog
from batchchat.workers.engine.startup import start_engine
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.exit_codes import ENGINE_DEAD
from batchchat.workers.local.engine_calls import CallAddress, Caller, portable
from batchchat.workers.local.engine_loop import EngineLoop, StartEngine
from batchchat.workers.local.engine_session import EngineReport, Orders
from batchchat.workers.process_lifetime import kill_with_parent

_REPORT_SECONDS = 0.25


@dataclass(frozen=True)
class EngineProcessConfig:
    """What an engine's process is started with.

    The engine arguments in `engine` override the catalog's. A call of the storage is
    retried for `storage_timeout` seconds.
    """

    parent: int
    address: CallAddress
    session: int
    settings: Settings
    engine: dict[str, Any]
    storage_timeout: float
    log: Path
    cores: tuple[int, ...]


class CallingBroker(Leases, StatusBoard):
    """The broker of the process that started this one; see `InProcessBroker`.

    That process never outlives this one, so that its leases need no renewal.
    """

    def __init__(self, caller: Caller) -> None:
        """Call a session through `caller`."""
        self._call = caller.call
        self.is_closed = False

    def first_messages(
        self, timeout: float = 0.0, *, exclude: Collection[str] = ()
    ) -> dict[str, WorkMessage]:
        """Return the first message of each queue that is not empty."""
        found = self._call("first_messages", timeout, set(exclude))
        return cast("dict[str, WorkMessage]", found)

    def receive(self, queue: str, timeout: float) -> WorkMessage | None:
        """Remove and return the first message of a queue."""
        return cast("WorkMessage | None", self._call("receive", queue, timeout))

    def finish(self, message: WorkMessage) -> None:
        """Note that the work of a received message has ended."""
        self._call("finish", message)

    def waiting(self, queue: str) -> set[str]:
        """Return the names of the messages in a queue."""
        return cast("set[str]", self._call("waiting", queue))

    def close(self) -> None:
        """Stop the receivers of this process."""
        self.is_closed = True

    @override
    def acquire(self, name: str) -> bool:
        return bool(self._call("acquire", name))

    @override
    def renew(self, name: str) -> bool:
        return True

    @override
    def release(self, name: str) -> None:
        self._call("release", name)

    @override
    def held(self, names: Collection[str]) -> set[str]:
        return cast("set[str]", self._call("held", set(names)))

    @override
    def detect_flush(self) -> bool:
        return False

    @override
    def publish(
        self, worker: WorkerStatus, shards: dict[tuple[str, str], ShardProgress]
    ) -> None:
        self._call("publish", worker, shards)

    @override
    def remove(self, worker_id: str) -> None:
        self._call("remove", worker_id)

    @override
    def workers(self) -> list[WorkerStatus]:
        return []

    @override
    def shard_progress(self, batch_id: str) -> dict[int, ShardProgress]:
        return {}

    @override
    def request_stop(self, batch_id: str, drain_seconds: float) -> None:
        raise NotImplementedError

    @override
    def stop_requests(self, batch_ids: Iterable[str]) -> dict[str, float]:
        return cast("dict[str, float]", self._call("stop_requests", set(batch_ids)))


class EngineProcess:
    """Runs an engine loop, and reports what it does."""

    def __init__(
        self, config: EngineProcessConfig, start: StartEngine | None = None
    ) -> None:
        """Connect to the process that started this one.

        `start` replaces what starts the engine.
        """
        self._caller = Caller(config.address, config.session)
        self._call = self._caller.call
        self._broker = CallingBroker(self._caller)
        self._progress = Progress()
        self._throughput = Throughput()
        self._ended = Event()
        self._stop = ShutdownSignal()
        settings = config.settings
        models = Path(settings.model_cache).expanduser()
        catalog = load_catalog(settings.config).with_engine(config.engine)
        self._loop = EngineLoop(
            self._environment(config),
            self._broker,
            start
            or (
                lambda model: start_engine(
                    model, models, settings, self._progress.on_loading_step
                )
            ),
            current_model=lambda planned: with_current_engine(planned, catalog),
            on_loaded=self._on_loaded,
            on_low_queue=lambda: self._call("low_queue"),
            # A thread that hangs cannot be ended, only its process.
            on_stuck=lambda: os._exit(ENGINE_DEAD),
            on_unusable=lambda error: self._call("give_up", portable(error)),
        )

    def run(self) -> None:
        """Run shards until the other process has this one end."""
        reporter = Thread(target=self._report, name="report", daemon=True)
        reporter.start()
        try:
            self._loop.run()
        finally:
            self._ended.set()
            reporter.join()
            with suppress(EOFError, OSError):  # the other process has ended
                self._exchange()
            self._caller.close()

    def _environment(self, config: EngineProcessConfig) -> WorkerEnvironment:
        settings = config.settings
        storage = open_storage(
            settings.storage,
            s3_endpoint=settings.s3_endpoint,
            s3_path_style=settings.s3_path_style,
        )
        if config.storage_timeout < math.inf:  # else the work is repeated later
            waiting = self._progress.set_waiting
            storage = RetryingStorage(
                storage, config.storage_timeout, self._stop, waiting
            )
        return WorkerEnvironment(
            storage=CachedStorage(storage),
            settings=settings.model_copy(update={"lease_seconds": math.inf}),
            leases=self._broker,
            status_board=self._broker,
            storage_timeout=0.0 if config.storage_timeout < math.inf else math.inf,
            on_failure=lambda error: self._call("fail", portable(error)),
            progress=self._progress,
        )

    def _on_loaded(self, message: WorkMessage) -> None:
        self._progress.phase = "running"
        self._call("loaded", message)

    def _report(self) -> None:
        while not self._ended.wait(_REPORT_SECONDS):
            orders = self._exchange()
            if orders.is_closing and not self._broker.is_closed:
                self._stop.request(orders.drain_seconds)
                self._loop.close(orders.drain_seconds)

    def _exchange(self) -> Orders:
        """Report to the other process; return what to do."""
        loop, progress = self._loop, self._progress
        activity = loop.activity()
        tokens = activity.generated_tokens if activity else 0
        self._throughput.observe(tokens, 0)
        notices = [progress.notices.popleft() for _ in range(len(progress.notices))]
        report = EngineReport(
            model=loop.loaded_model,
            step=progress.loading_step if progress.phase == "loading" else "",
            waiting_reason=progress.waiting_reason,
            activity=activity,
            tokens_per_second=self._throughput.tokens_per_second(),
            committed=loop.committed(),
            results=loop.results(),
            work_done=loop.work_done(),
            notices=tuple(notices),
        )
        return cast("Orders", self._call("report", report))


def main() -> None:
    """Run the engine that the process at the other end of stdin describes."""
    config: EngineProcessConfig = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the parent
    kill_with_parent(config.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the other process ends this one
    if config.cores:
        os.sched_setaffinity(0, config.cores)
    log = EngineLog(config.log)
    for number in (1, 2):
        os.dup2(log.descriptor, number)
    start_logging(sys.stderr, as_json=False)
    with suppress(EOFError, ConnectionError):  # the other process has ended
        EngineProcess(config).run()


if __name__ == "__main__":
    main()
