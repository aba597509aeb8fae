"""The backend for batches that this process runs itself, without any service."""

import dataclasses
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from math import ceil

from msgspec.structs import replace
from typing_extensions import override

from batchchat.cli.backends.batch_view import View
from batchchat.cli.backends.engine_options import EngineOptions
from batchchat.cli.backends.session import Session
from batchchat.cli.backends.stored import StoredBackend
from batchchat.cli.terminal import streams
from batchchat.cli.terminal.progress import ProgressDisplay, run_progress_line
from batchchat.cli.terminal.signals import interruptible
from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.engine_arguments import with_current_engine
from batchchat.jobs.deletion.deletion import Removal
from batchchat.jobs.errors import BatchchatError, ConfigError, NotFoundError
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.files.files import Files
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.completion_window import NO_DEADLINE
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch, File
from batchchat.jobs.planning.model_resolution import resolve_model
from batchchat.jobs.results.finalize import finalize
from batchchat.jobs.reuse.index_building import store_index
from batchchat.jobs.settings import Settings
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage import RetryingStorage
from batchchat.workers.engine.engine_check import check_engine, check_installed
from batchchat.workers.engine.engine_slots import gpus_needed, make_slots
from batchchat.workers.engine.log_file import engine_log_path
from batchchat.workers.engine.vllm_arguments import check_arguments
from batchchat.workers.local.batch_lock import (
    BatchLockedError,
    batch_lock,
    is_locked,
    is_served,
)
from batchchat.workers.local.engine_launch import PoolConfig
from batchchat.workers.local.live_speed import Speed, read_speed
from batchchat.workers.local.single_batch import SingleBatchRun

_SHARDS_PER_ENGINE = 4
_MIN_SHARD_REQUESTS = 16


class EmbeddedBackend(StoredBackend):
    """Runs batches in this process; see `Backend`."""

    default_completion_window = NO_DEADLINE

    @override
    def use_engine(self, options: EngineOptions) -> None:
        self.session.catalog = self.session.catalog.with_engine(options.arguments)
        self.session.settings = options.settings(self.session.settings)

    @override
    def check_engine(self, model: str | None) -> None:
        session = self.session
        check_installed(session.settings)
        if model is not None:
            found = session.catalog.find(model)
            check_engine(found, session.models, session.settings)

    @override
    def _create(self, file: File, options: BatchOptions) -> str:
        """Create the batch, unless the engine arguments of its model are invalid."""
        arguments = options.engine | self.session.catalog.engine
        catalog = self.session.catalog.with_engine(arguments)
        model = resolve_model(self.ledger, file, catalog, options.model, options.rows)
        try:
            if model is not None:
                check_arguments(model.name, model.engine)
        except ConfigError:
            Files(self.ledger).delete(file.id)
            raise
        return super()._create(file, replace(options, engine=arguments))

    @override
    def enqueue(self, batch_id: str) -> None:
        """Do nothing: `run` runs the batch."""

    @override
    def run(self, batch_id: str, *, show_progress: bool) -> View | None:
        try:
            view = self._run(batch_id, show_progress=show_progress)
        except BatchLockedError:
            raise
        except BatchchatError as error:
            resume = f"continue with `batchchat resume {batch_id}`"
            error.hint = f"{error.hint}; then {resume}" if error.hint else resume
            raise
        if view.batch.is_terminal:
            return view
        _report_stopped(self.get(batch_id))
        return None

    @override
    def delete(self, batch_id: str, *, keep_input: bool, dry_run: bool) -> Removal:
        with batch_lock(self.session.locks, batch_id):
            removal = super().delete(batch_id, keep_input=keep_input, dry_run=dry_run)
        if not dry_run:
            log = engine_log_path(batch_id)
            for path in (log, log.with_name(f"{log.name}.1")):
                path.unlink(missing_ok=True)
        return removal

    @override
    def index_answers(self, batch_id: str) -> None:
        """Do it here, when the results are written; an interrupted index is no loss."""
        with suppress(BatchchatError, KeyboardInterrupt):
            state = self.ledger.state(batch_id)
            store_index(self.ledger, state, self.session.renderers)

    @override
    def is_abandoned(self, view: View) -> bool:
        return not view.batch.is_over and not self._is_run_here(view.batch.id)

    def _is_run_here(self, batch_id: str) -> bool:
        """Return whether a command or a server on this machine runs a batch."""
        locks, storage = self.session.locks, self.ledger.storage
        if is_locked(locks, batch_id):
            return True
        if not is_served(locks, storage.url):
            return False
        return ActiveIndex(storage).contains(self.ledger.project, batch_id)

    @override
    def speed(self, view: View) -> Speed | None:
        locks, batch_id = self.session.locks, view.batch.id
        return read_speed(locks, batch_id) if is_locked(locks, batch_id) else None

    @override
    def runners(self, views: Sequence[View]) -> list[str]:
        return [self._runner(view) for view in views]

    def _runner(self, view: View) -> str:
        if view.batch.is_terminal:
            return ""
        return "this machine" if self._is_run_here(view.batch.id) else "none"

    @override
    def next_hint(self, batch_id: str) -> str:
        return f"run it with `batchchat resume {batch_id}`"

    @override
    def _stop_running(self, batch_id: str) -> None:
        try:
            with batch_lock(self.session.locks, batch_id):
                finalize(self.ledger, batch_id, "cancelled")
        except BatchLockedError:
            streams.info("the process that runs it will stop within seconds")

    def _session_of(self, batch_id: str) -> Session:
        """Return the session, with the engine arguments of the batch."""
        catalog = self.session.catalog
        arguments = self.ledger.batch(batch_id).engine | catalog.engine
        return dataclasses.replace(self.session, catalog=catalog.with_engine(arguments))

    def _pool(self, session: Session, batch_id: str) -> PoolConfig | None:
        """Return how to start the engines of a batch; None for one in this process."""
        batch, plan = self.ledger.batch(batch_id), self.ledger.plan(batch_id)
        model = plan.model if plan else self._model_of(session, batch)
        current = model and with_current_engine(model, session.catalog)
        settings = session.settings
        needed = gpus_needed(current.engine) if current else 1
        slots = make_slots(settings.engines, settings.gpus, needed)
        if note := slots.note():
            streams.info(note)
        if not slots.need_processes:
            return None
        return PoolConfig(
            slots=slots.engines,
            log=lambda number: engine_log_path(f"{batch_id}-{number}"),
            gives_up=True,
            engine=session.catalog.engine,
        )

    def _shard_settings(
        self, settings: Settings, batch_id: str, pool: PoolConfig | None
    ) -> Settings:
        """Return the settings, with shards small enough for each engine to get some."""
        requests = self._requests(batch_id) if pool else None
        if not pool or not requests:
            return settings
        size = ceil(requests / (len(pool.slots) * _SHARDS_PER_ENGINE))
        size = min(settings.shard_requests, max(size, _MIN_SHARD_REQUESTS))
        return settings.model_copy(update={"shard_requests": size})

    def _requests(self, batch_id: str) -> int | None:
        """Return the number of lines of the input, None if it is not known."""
        with suppress(NotFoundError):  # the planner reports it
            return self.ledger.file(self.ledger.batch(batch_id).input_file_id).lines
        return None

    def _model_of(self, session: Session, batch: Batch) -> Model | None:
        try:
            file = self.ledger.file(batch.input_file_id)
            return resolve_model(self.ledger, file, session.catalog, batch.model)
        except NotFoundError:  # the planner reports it
            return None

    def _run(self, batch_id: str, *, show_progress: bool) -> View:
        progress, stop = Progress(), ShutdownSignal()
        session = self._session_of(batch_id)
        pool = self._pool(session, batch_id)
        settings = self._shard_settings(session.settings, batch_id, pool)
        storage = RetryingStorage(
            self.ledger.storage,
            settings.retry_timeout_seconds,
            stop,
            progress.set_waiting,
        )
        run = SingleBatchRun(
            Ledger(storage, settings.project),
            settings,
            session.renderers,
            start_engine=lambda model: session.start_engine(model, progress),
            pool=pool,
            stop=stop,
            progress=progress,
            locks=session.locks,
        )
        has_ended = self.ledger.state(batch_id).is_terminal
        log = None if has_ended else engine_log_path(batch_id)
        with (
            streams.engine_output(log) if log else nullcontext(),
            interruptible(batch_id, progress, stop, settings.grace_seconds),
        ):
            display = ProgressDisplay(
                run_progress_line(progress),
                show_progress=show_progress,
                notices=progress.notices,
            )
            try:
                return View.of_state(run.run(batch_id))
            finally:
                display.stop()


def _report_stopped(view: View) -> None:
    counts = view.batch.request_counts
    finished = counts.completed + counts.failed
    streams.info(
        f"stopped: {finished:,} of {counts.total:,} requests are finished, and their"
        " results are kept"
    )
    streams.hint(f"continue with `batchchat resume {view.batch.id}`")
