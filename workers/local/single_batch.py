"""Runs one batch in this process, without services: a runner limited to that batch."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Event

from typing_extensions import override

from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.ledger.active_index import IndexEntry
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Counts
from batchchat.jobs.ledger.state import State
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.results.delivery import deliver
from batchchat.jobs.results.finalize import publish_results
from batchchat.jobs.settings import Settings
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage import CachedStorage, Storage
from batchchat.jobs.storage.destination import Destination
from batchchat.workers.broker.messages import FINALIZE, WorkMessage
from batchchat.workers.control.dispatcher import BatchIndex
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.local.batch_lock import batch_lock
from batchchat.workers.local.engine_launch import PoolConfig
from batchchat.workers.local.engine_loop import StartEngine
from batchchat.workers.local.in_process_broker import InProcessBroker
from batchchat.workers.local.live_speed import SpeedFile
from batchchat.workers.local.runner import LocalRunner

_POLL_SECONDS = 0.1


class SingleBatchRun:
    """Runs a batch until it has ended, an error occurs, or a stop is requested."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        registry: RendererRegistry,
        *,
        start_engine: StartEngine,
        pool: PoolConfig | None = None,
        stop: ShutdownSignal,
        progress: Progress,
        locks: Path,
    ) -> None:
        """With a `pool`, several engines run it.

        `stop` ends the run early; `locks` is a folder on this machine.
        """
        self._ledger = ledger
        self._settings = settings
        self._registry = registry
        self._start_engine = start_engine
        self._pool = pool
        self._stop = stop
        self._progress = progress
        self._locks = locks
        self._committed = Counts()
        self._loaded: State | None = None

    def run(self, batch_id: str) -> State:
        """Do everything that the batch still needs; return its state.

        Raises:
            BatchLockedError: another process runs it.
            BatchchatError: the run cannot continue; finished results are kept.

        """
        with batch_lock(self._locks, batch_id):
            state = self._ledger.state(batch_id)
            if state.is_terminal:  # the process that ended it may have died then
                publish_results(self._ledger, state)
            else:
                state = self._run(batch_id)
            return self._deliver(state)

    def _run(self, batch_id: str) -> State:
        """Run the batch in a runner of its own, and wait."""
        index = _SingleBatchIndex(self._ledger.project, batch_id)
        failures: list[BaseException] = []
        broker = InProcessBroker(resend_seconds=0.0)

        def on_failure(error: BaseException) -> None:
            failures.append(error)
            broker.close()
            index.end()

        environment = WorkerEnvironment(
            storage=CachedStorage(self._ledger.storage),
            settings=self._settings,
            leases=broker,
            status_board=broker,
            storage_timeout=0.0,  # the caller's storage retries
            on_failure=on_failure,
            progress=self._progress,
            clock=self._ledger.clock,
        )
        runner = LocalRunner(
            environment,
            broker,
            self._registry,
            start_engine=self._start_engine,
            pool=self._pool,
            batches=index,
            deliver=lambda _: index.end(),
            on_loaded=self._on_loaded,
        )
        if not self._stop.requested:
            self._wait(runner, index, SpeedFile(self._locks, batch_id))
        if not failures:  # a stop may come after the last shard
            runner.handle(WorkMessage(self._ledger.project, batch_id, FINALIZE))
        if failures:
            raise failures[0]
        return self._ledger.state(batch_id)

    def _wait(
        self, runner: LocalRunner, index: "_SingleBatchIndex", speed: SpeedFile
    ) -> None:
        """Run until the batch has ended, a failure or a stop."""
        runner.start()
        try:
            while not (self._stop.requested or index.has_ended(_POLL_SECONDS)):
                self._update_progress(runner)
                speed.update(self._progress)
        finally:
            speed.remove()
            runner.close(self._stop.remaining)
            self._update_progress(runner)

    def _on_loaded(self, message: WorkMessage) -> None:
        """Show the progress from what was committed before the first engine ran."""
        if self._loaded and self._progress.phase != "loading":  # on another engine
            return
        if self._loaded is None:
            self._loaded = self._ledger.state(message.batch_id)
        self._committed = self._loaded.counts()
        self._progress.total = self._committed.total
        self._progress.start(self._committed, self._loaded.usage())

    def _update_progress(self, runner: LocalRunner) -> None:
        done = runner.results()
        recovered = self._committed + done.recovered
        self._progress.update(recovered, done.generated, done.usage)
        self._progress.engines = runner.engines()
        if activity := runner.activity():
            self._progress.observe(activity)

    def _deliver(self, state: State) -> State:
        if not state.is_terminal or state.is_delivered:
            return state
        self._progress.phase = "delivering"
        deliver(self._ledger, state, self._open_destination)
        return self._ledger.state(state.batch.id)

    def _open_destination(self, url: str) -> Storage:
        """Open a destination without restriction: it belongs to the user."""
        return Destination.parse(url).open(
            self._settings.s3_endpoint, path_style=self._settings.s3_path_style
        )


class _SingleBatchIndex(BatchIndex):
    """The index of a runner that is limited to one batch."""

    def __init__(self, project: str, batch_id: str) -> None:
        self._batch = project, batch_id
        self._versions = count()  # other processes may write its records at any time
        self._ended = Event()

    def has_ended(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; return whether the batch has ended."""
        return self._ended.wait(timeout)

    @override
    def entries(self) -> Iterator[IndexEntry]:
        if not self._ended.is_set():
            yield IndexEntry(*self._batch, next(self._versions))

    @override
    def remove(self, project: str, batch_id: str) -> None:
        self.end()

    def end(self) -> None:
        """Have the run end: the batch has ended, or it cannot continue."""
        self._ended.set()
