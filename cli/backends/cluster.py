"""The backend for batches that a cluster's workers run, over shared storage."""

from typing_extensions import override

from batchchat.cli.backends.batch_view import View
from batchchat.cli.backends.follow import follow
from batchchat.cli.backends.session import Session
from batchchat.cli.backends.stored import StoredBackend
from batchchat.cli.terminal import streams
from batchchat.cli.terminal.format import short
from batchchat.jobs.errors import BrokerError
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.state import State
from batchchat.workers.cluster_status import ClusterStatus


class ClusterBackend(StoredBackend):
    """Submits batches to a controller and workers; see `Backend`."""

    runs_elsewhere = True
    repaired_by = "the controller"

    def __init__(self, session: Session, cluster: ClusterStatus) -> None:
        """Use the storage of `session` and the workers of `cluster`."""
        super().__init__(session)
        self._cluster = cluster

    @override
    def enqueue(self, batch_id: str) -> None:
        ActiveIndex(self.ledger.storage).add(self.ledger.project, batch_id)

    @override
    def run(self, batch_id: str, *, show_progress: bool) -> View | None:
        return follow(self, batch_id, show_progress=show_progress)

    @override
    def blocked_reason(self, view: View) -> str | None:
        try:
            return self._missing_process(self.ledger.state(view.batch.id))
        except BrokerError as error:
            return error.message

    def _missing_process(self, state: State) -> str | None:
        if not self._cluster.has_controller():
            return "no controller is running; start one with `batchchat controller`"
        if state.plan and state.plan.model and not self._cluster.workers_of(state):
            model = state.plan.model.name
            return (
                f"no worker is running `{model}`; start one with"
                f" `batchchat worker --model {model}`"
            )
        return None

    @override
    def status_rows(self, view: View) -> list[tuple[str, str]]:
        rows = super().status_rows(view)
        try:
            workers = self._cluster.workers_of(self.ledger.state(view.batch.id))
        except BrokerError as error:
            return [*rows, ("workers", error.message)]
        speed = sum(worker.tokens_per_second for worker in workers)
        return [*rows, ("workers", f"{len(workers)}, {short(speed)} tokens/s")]

    @override
    def next_hint(self, batch_id: str, status: str | None = None) -> str | None:
        return f"follow it with `batchchat watch {batch_id}`"

    @override
    def _stop_running(self, batch_id: str) -> None:
        self.enqueue(batch_id)
        streams.info("the workers stop; the controller writes the finished results")
