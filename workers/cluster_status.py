"""The live status of a cluster, for its clients."""

from dataclasses import replace

from batchchat.jobs.errors import BrokerError
from batchchat.jobs.ledger.state import State
from batchchat.workers.broker.messages import CONTROL, queue_name
from batchchat.workers.broker.redis_client import open_redis
from batchchat.workers.broker.status_board import RedisStatusBoard, WorkerStatus


class ClusterStatus:
    """The status board of one cluster."""

    def __init__(self, broker: str) -> None:
        """Read from the Redis at `broker`. Raises `ConfigError`."""
        self._board = RedisStatusBoard(open_redis(broker))

    def with_progress(self, state: State) -> State:
        """Return the state of a batch, including the results of its open shards."""
        if state.is_terminal or state.plan is None:
            return state
        try:
            shards = self._board.shard_progress(state.batch.id)
        except BrokerError:
            return state
        running = {shard: (one.counts, one.usage) for shard, one in shards.items()}
        return replace(state, running=running)

    def workers_of(self, state: State) -> list[WorkerStatus]:
        """Return the workers that run the model of a batch."""
        if state.plan is None or state.plan.model is None:
            return []
        queue = queue_name(state.plan.model)
        return [worker for worker in self.workers() if worker.queue == queue]

    def has_controller(self) -> bool:
        """Return whether a controller is running."""
        return any(worker.queue == CONTROL for worker in self.workers())

    def workers(self) -> list[WorkerStatus]:
        """Return all running workers and controllers.

        Raises:
            BrokerError: Redis is not available.

        """
        return self._board.workers()
