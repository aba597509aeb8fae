"""What a client of a cluster sees of it, beside the bucket."""

from dataclasses import replace

from batchchat.jobs.errors import BrokerError
from batchchat.jobs.ledger.state import State
from batchchat.workers.broker.messages import CONTROL, queue_name
from batchchat.workers.broker.redis_client import open_redis
from batchchat.workers.broker.status_board import RedisStatusBoard, WorkerStatus


class ClusterStatus:
    """The status_board of one cluster."""

    def __init__(self, broker: str) -> None:
        """Look at the Redis at `broker`. Raises `ConfigError`."""
        self._status_board = RedisStatusBoard(open_redis(broker))

    def with_progress(self, state: State) -> State:
        """Return the state with what is done in shards that run."""
        if state.is_terminal or state.plan is None:
            return state
        try:
            running = self._status_board.shard_progress(state.batch.id)
        except BrokerError:
            return state
        status_board = {
            shard: (one.counts, one.usage) for shard, one in running.items()
        }
        return replace(state, running=status_board)

    def workers_of(self, state: State) -> list[WorkerStatus]:
        """Return the workers that run the model of a batch."""
        if state.plan is None or state.plan.model is None:
            return []
        queue = queue_name(state.plan.model)
        return [worker for worker in self.workers() if worker.queue == queue]

    def has_controller(self) -> bool:
        """Say whether anybody plans and ends batches."""
        return any(worker.queue == CONTROL for worker in self.workers())

    def workers(self) -> list[WorkerStatus]:
        """Return the workers and the controllers that are there.

        Raises:
            BrokerError: Redis does not answer.

        """
        return self._status_board.workers()
