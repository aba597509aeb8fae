"""A cluster whose processes tests set."""

from typing_extensions import override

from batchchat.jobs.errors import BrokerError
from batchchat.jobs.ledger.state import State
from batchchat.workers.broker.messages import queue_name
from batchchat.workers.broker.status_board import WorkerStatus
from batchchat.workers.cluster_status import ClusterStatus
from tests.support.ended import MODEL

WORKER = queue_name(MODEL)
"""The queue of a worker that runs the model of the tests."""


class Cluster(ClusterStatus):
    """A cluster whose processes are set by their queues."""

    def __init__(self, *queues: str, error: BrokerError | None = None) -> None:
        """With `error`, its Redis does not reply."""
        self.queues = queues
        self.error = error
        self.asked = 0

    @override
    def workers(self) -> list[WorkerStatus]:
        self.asked += 1
        if self.error:
            raise self.error
        return [
            WorkerStatus(
                id=str(number),
                queue=queue,
                model="m",
                host="h",
                since=0.0,
                tokens_per_second=100.0,
                shards=[],
            )
            for number, queue in enumerate(self.queues)
        ]

    @override
    def with_progress(self, state: State) -> State:
        return state
