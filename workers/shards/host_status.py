"""The status that a worker publishes on the status board."""

from uuid import uuid4

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.engine.protocol import Engine
from batchchat.jobs.execution.throughput import Throughput
from batchchat.workers.broker.messages import queue_name
from batchchat.workers.broker.status_board import (
    ShardProgress,
    WorkerStatus,
    as_problems,
)
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.shards.open_attempts import OpenAttempts
from batchchat.workers.shards.storage_guard import StorageGuard


class HostStatus:
    """Measures the work of one host."""

    def __init__(
        self,
        environment: WorkerEnvironment,
        model: Model,
        engine: Engine,
        attempts: OpenAttempts,
        guard: StorageGuard,
    ) -> None:
        """`attempts` at shards of `model` run on `engine`."""
        self._guard = guard
        self.worker_id = uuid4().hex
        self._environment = environment
        self._queue = queue_name(model)
        self._model = model.name
        self._engine = engine
        self._attempts = attempts
        self._since = environment.clock()
        self._throughput = Throughput(environment.monotonic)

    def current(self) -> tuple[WorkerStatus, dict[tuple[str, str], ShardProgress]]:
        """Return the status of the worker, and the progress of its shards."""
        attempts = self._attempts.items()
        worker = WorkerStatus(
            id=self.worker_id,
            queue=self._queue,
            model=self._model,
            host=self._environment.host_name,
            since=self._since,
            tokens_per_second=self._tokens_per_second(),
            shards=[message.name for message in attempts],
            storage_problem=self._guard.problem,
            batch_problems=as_problems(self._guard.denied_batches()),
        )
        shards = {
            (message.batch_id, message.work): ShardProgress(
                attempt.progress.total_counts(),
                attempt.progress.total_usage(),
                in_flight=attempt.in_flight,
            )
            for message, attempt in attempts.items()
        }
        return worker, shards

    def _tokens_per_second(self) -> float:
        self._throughput.observe(self._engine.activity().generated_tokens, 0)
        return self._throughput.tokens_per_second()
