"""The status that a worker publishes on the status board."""

from uuid import uuid4

from batchchat.workers.broker.status_board import ShardProgress, WorkerStatus
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.shards.open_attempts import OpenAttempts


class HostStatus:
    """Measures the work of one host."""

    def __init__(
        self,
        environment: WorkerEnvironment,
        queue: str,
        model: str,
        attempts: OpenAttempts,
    ) -> None:
        """`queue` and `model` are names."""
        self.worker_id = uuid4().hex
        self._environment = environment
        self._queue = queue
        self._model = model
        self._attempts = attempts
        self._since = environment.clock()
        self._measured_at = environment.monotonic()
        self._measured_tokens = 0

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
        """Return the speed of generation since the last call."""
        tokens = self._attempts.work_done().usage.output_tokens
        now = self._environment.monotonic()
        seconds, generated = now - self._measured_at, tokens - self._measured_tokens
        self._measured_at, self._measured_tokens = now, tokens
        return max(0.0, generated / seconds) if seconds > 0 else 0.0
