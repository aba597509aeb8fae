"""Stops the shards of a batch in this process when it reaches its cost limit.

The dispatcher checks the limit for all workers, once per sweep. Between two sweeps,
thousands of requests that share an answer may finish. So each worker also checks it
after every result: with its own shards as they are, and with the checkpoints of other
workers as they were when it last opened a shard.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.checkpoint_reader import CheckpointReader
from batchchat.jobs.ledger.cost_limit import DRAIN_SECONDS, request_cost_cancellation
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Counts
from batchchat.jobs.ledger.state import State
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.cost_check import reaches_cost_limit
from batchchat.workers.shards.open_attempts import OpenAttempt

_Progress = dict[int, tuple[Counts, Usage]]


class CostMonitor:
    """Watches all batches with a cost limit that run in this process."""

    def __init__(self) -> None:
        """Start without a batch."""
        self._batches: dict[str, _WatchedBatch] = {}
        self._lock = Lock()

    @contextmanager
    def watching(
        self, ledger: Ledger, message: WorkMessage, attempt: OpenAttempt
    ) -> Iterator[None]:
        """Check the limit after each result of an attempt during the block.

        Raises `StorageError`.
        """
        batch_id, shard = message.batch_id, message.shard
        if ledger.batch(batch_id).max_cost is None:
            yield
            return
        with self._lock:
            batch = self._batches.setdefault(batch_id, _WatchedBatch(ledger))
            batch.open(shard, attempt)
        try:
            batch.refresh(ledger.state(batch_id))
            attempt.progress.on_result = batch.check
            batch.check()  # the commits since the last result may reach the limit
            yield
        finally:
            batch.close(shard)
            with self._lock:
                if not batch.has_attempts:
                    self._batches.pop(batch_id, None)


class _WatchedBatch:
    """The progress of one batch's shards, here and elsewhere."""

    def __init__(self, ledger: Ledger) -> None:
        self._attempts: dict[int, OpenAttempt] = {}
        self._ledger = ledger
        self._reader = CheckpointReader(ledger, keep_text=False)
        self._state: State | None = None
        self._elsewhere: _Progress = {}
        self._finished: _Progress = {}
        self._lock = Lock()

    @property
    def has_attempts(self) -> bool:
        return bool(self._attempts)

    def open(self, shard: int, attempt: OpenAttempt) -> None:
        with self._lock:
            self._attempts[shard] = attempt

    def refresh(self, state: State) -> None:
        """Take over the commits and the checkpoints of other workers."""
        elsewhere = self._reader.add_checkpoints(state).running
        with self._lock:
            self._state = state
            self._elsewhere = elsewhere
            self._finished = {
                shard: progress
                for shard, progress in self._finished.items()
                if shard not in state.commits
            }

    def close(self, shard: int) -> None:
        """Keep counting the results of an attempt until its commit is seen."""
        with self._lock:
            attempt = self._attempts.pop(shard)
            if attempt.is_committed:
                self._finished[shard] = _progress_of(attempt)

    def check(self) -> None:
        """Stop the batch's attempts if it has reached its limit."""
        with self._lock:
            state, attempts = self._state, dict(self._attempts)
            running = self._elsewhere | self._finished
        if state is None or all(one.stop.requested for one in attempts.values()):
            return
        running |= {shard: _progress_of(one) for shard, one in attempts.items()}
        in_flight = sum(attempt.in_flight for attempt in attempts.values())
        if reaches_cost_limit(state, running, in_flight):
            for attempt in attempts.values():
                if not attempt.stop.requested:
                    attempt.stop.request(DRAIN_SECONDS)
            request_cost_cancellation(self._ledger, state.batch.id)


def _progress_of(attempt: OpenAttempt) -> tuple[Counts, Usage]:
    return attempt.progress.total_counts(), attempt.progress.total_usage()
