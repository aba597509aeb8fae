"""The backend for batches that a cluster's workers run, over shared storage."""

import time
from collections.abc import Sequence
from contextlib import suppress

from typing_extensions import override

from batchchat.cli.backends.batch_view import View
from batchchat.cli.backends.follow import follow
from batchchat.cli.backends.session import Session
from batchchat.cli.backends.speed import speed_of
from batchchat.cli.backends.stored import StoredBackend
from batchchat.cli.terminal import streams
from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.errors import BrokerError
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.records import File
from batchchat.workers.broker.status_board import WorkerStatus
from batchchat.workers.cluster_status import (
    ClusterStatus,
    batch_problem,
    missing_process,
    storage_problem,
    workers_of,
)
from batchchat.workers.local.live_speed import Speed

_READ_SECONDS = 1.0


class ClusterBackend(StoredBackend):
    """Submits batches to a controller and workers; see `Backend`."""

    runs_elsewhere = True
    repaired_by = "the controller"

    def __init__(self, session: Session, cluster: ClusterStatus) -> None:
        """Use the storage of `session` and the workers of `cluster`."""
        super().__init__(session)
        self._cluster = cluster
        self._found: list[WorkerStatus] = []
        self._failure: BrokerError | None = None
        self._next_read = 0.0

    @override
    def enqueue(self, batch_id: str) -> None:
        ActiveIndex(self.ledger.storage).add(self.ledger.project, batch_id)
        self._cluster.announce()

    @override
    def _create(self, file: File, options: BatchOptions) -> str:
        batch_id = super()._create(file, options)
        self._cluster.announce()
        return batch_id

    @override
    def run(self, batch_id: str, *, show_progress: bool) -> View | None:
        return follow(self, batch_id, show_progress=show_progress)

    @override
    def runners(self, views: Sequence[View]) -> list[str]:
        if all(view.batch.is_terminal for view in views):
            return ["" for _ in views]
        try:
            workers = self._workers()
        except BrokerError as error:
            streams.warn(_one_line(error))
            return ["" if view.batch.is_terminal else "unknown" for view in views]
        return [self._runner(view, workers) for view in views]

    def _runner(self, view: View, workers: list[WorkerStatus]) -> str:
        if view.batch.is_terminal:
            return ""
        is_missing = missing_process(self._model(view), workers) is not None
        return "cluster" if view.started or not is_missing else "none"

    @override
    def blocked_reason(self, view: View) -> str | None:
        try:
            workers = self._workers()
            missing = missing_process(self._model(view), workers)
            return missing or batch_problem(view.batch.id, workers)
        except BrokerError as error:
            return _one_line(error)

    def _workers(self) -> list[WorkerStatus]:
        """Return the workers, with one request a second. Raises `BrokerError`."""
        now = time.monotonic()
        if now >= self._next_read:
            self._next_read = now + _READ_SECONDS
            try:
                self._found, self._failure = self._cluster.workers(), None
            except BrokerError as error:
                self._failure = error
        if self._failure is not None:
            raise self._failure
        return self._found

    def _model(self, view: View) -> Model | None:
        """Return the model of a batch, None if it is not known yet."""
        plan = self.ledger.plan(view.batch.id)
        if plan is not None:
            return plan.model
        return self.ledger.batch(view.batch.id).resolved_model

    @override
    def speed(self, view: View) -> Speed | None:
        workers = self._workers_of(view) or []
        return speed_of(view.batch, sum(it.tokens_per_second for it in workers))

    @override
    def status_rows(self, view: View) -> list[tuple[str, str]]:
        workers = self._workers_of(view)
        number = "unknown" if workers is None else str(len(workers))
        rows = [*super().status_rows(view), ("workers", number)]
        with suppress(BrokerError):
            found = self._workers()
            problems = storage_problem(found), batch_problem(view.batch.id, found)
            rows += [("problem", problem) for problem in problems if problem]
        return rows

    def _workers_of(self, view: View) -> list[WorkerStatus] | None:
        """Return the workers that run the model of a batch, None if not known."""
        model = self._model(view)
        with suppress(BrokerError):  # which `blocked_reason` reports
            return workers_of(model, self._workers()) if model else []
        return None

    @override
    def next_hint(self, batch_id: str) -> str:
        return f"follow it with `batchchat watch {batch_id}`"

    @override
    def _stop_running(self, batch_id: str) -> None:
        ActiveIndex(self.ledger.storage).touch(self.ledger.project, batch_id)
        self._cluster.announce()
        blocked = self.blocked_reason(self.get(batch_id))
        ends = "the workers stop; the controller writes the finished results"
        streams.info(blocked or ends)


def _one_line(error: BrokerError) -> str:
    return f"{error.message.rstrip('.')}; {error.hint}"
