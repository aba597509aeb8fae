"""Batches that a cluster's workers run, over a storage that all of them share."""

from batchchat.cli.backends.batch_view import View
from batchchat.cli.backends.follow import follow
from batchchat.cli.backends.session import Session
from batchchat.cli.backends.stored import StoredBatches
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.format import short
from batchchat.jobs.errors import BrokerError
from batchchat.jobs.ledger.active_index import Active
from batchchat.jobs.ledger.ledger import State
from batchchat.workers.cluster_status import ClusterStatus


class ClusterBatches(StoredBatches):
    """See `Batches`."""

    handed_over = True
    mends = "a controller"

    def __init__(self, session: Session, cluster: ClusterStatus) -> None:
        """Hand batches over to `cluster`."""
        super().__init__(session)
        self._cluster = cluster

    def hand_over(self, batch_id: str) -> None:  # noqa: D102 - see Batches
        Active(self.ledger.storage).add(self.ledger.project, batch_id)

    def run(self, batch_id: str, *, shown: bool) -> View | None:  # noqa: D102
        return follow(self, batch_id, shown=shown)

    def missing(self, view: View) -> str | None:  # noqa: D102
        try:
            return self._missing(self.ledger.state(view.batch.id))
        except BrokerError as error:
            return error.message

    def _missing(self, state: State) -> str | None:
        if not self._cluster.has_controller():
            return "no controller is there: start one with `batchchat controller`"
        if state.plan and state.plan.model and not self._cluster.workers_of(state):
            model = state.plan.model.name
            return (
                f"no worker runs `{model}`: start one with"
                f" `batchchat worker --model {model}`"
            )
        return None

    def rows(self, view: View) -> list[tuple[str, str]]:  # noqa: D102
        try:
            workers = self._cluster.workers_of(self.ledger.state(view.batch.id))
        except BrokerError as error:
            return [*super().rows(view), ("workers", error.message)]
        speed = sum(worker.tokens_per_second for worker in workers)
        told = f"{len(workers)}, {short(speed)} tokens/s"
        return [*super().rows(view), ("workers", told)]

    def next_step(self, batch_id: str, status: str | None = None) -> str | None:  # noqa: D102
        del status
        return f"follow it with `batchchat watch {batch_id}`"

    def _cancelled(self, batch_id: str) -> None:
        self.hand_over(batch_id)
        terminal.say("its workers stop, and a controller writes what is finished")
