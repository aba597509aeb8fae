"""What a run has done so far, for progress displays."""

import time
from collections.abc import Callable, Iterable
from threading import Lock

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.checkpoint import Result, tally
from batchchat.jobs.ledger.records import Counts


class Progress:
    """Counters that threads update and a display reads.

    `phase` is checking, waiting, loading, running, finalizing or delivering.
    `recovered` counts the results from before this run. While the run is blocked,
    `waiting_for` names what it waits for, such as the storage, and `waiting_reason`
    is the reason; otherwise `waiting_reason` is None.
    """

    def __init__(self) -> None:
        """Start with all counters at zero."""
        self.phase = "checking"
        self.total = 0
        self.recovered = Counts()
        self.counts = Counts()
        self.usage = Usage()
        self.recovered_usage = Usage()
        self.waiting_reason: str | None = None
        self.waiting_for = "storage"
        self.started_at: float | None = None
        self.on_result: Callable[[], object] = lambda: None
        self.checked_requests = 0
        self._lock = Lock()

    def start(self, before: Counts, usage: Usage = Usage()) -> None:  # noqa: B008 - frozen
        """Record that the engine is ready; `before` counts the committed results."""
        with self._lock:
            self.phase = "running"
            self.started_at = time.monotonic()
            self.recovered, self.counts, self.usage = before, Counts(), Usage()
            self.recovered_usage = usage

    def on_checked(self, _bytes: int, requests: int) -> None:
        """Record how much of the input has been checked."""
        self.checked_requests = requests

    def add(self, results: Iterable[Result]) -> None:
        """Count results that this run has produced."""
        counts, usage, _ = tally(results)
        with self._lock:
            self.counts += counts
            self.usage += usage
        self.on_result()

    def add_recovered(self, counts: Counts, usage: Usage) -> None:
        """Count results from before this run."""
        with self._lock:
            self.recovered += counts
            self.recovered_usage += usage

    def update(self, recovered: Counts, generated: Counts, usage: Usage) -> None:
        """Set the earlier results, and the results and the usage of this run."""
        with self._lock:
            self.recovered, self.counts, self.usage = recovered, generated, usage

    def update_remote(self, counts: Counts, usage: Usage) -> None:
        """Record the total that a run in another process has reached."""
        new = Counts(
            counts.total,
            counts.completed - self.recovered.completed,
            counts.failed - self.recovered.failed,
        )
        with self._lock:
            self.counts, self.usage = new, usage

    def set_waiting(self, reason: str | None, waiting_for: str = "storage") -> None:
        """Record why the run is blocked, or with None that it no longer is."""
        self.waiting_for, self.waiting_reason = waiting_for, reason

    def total_counts(self) -> Counts:
        """Return the number of results, including those from before this run."""
        return self.recovered + self.counts

    def total_usage(self) -> Usage:
        """Return the tokens used, including those from before this run."""
        return self.recovered_usage + self.usage

    def tokens_per_second(self) -> float:
        """Return the throughput of this run in generated tokens per second."""
        seconds = self._elapsed_seconds()
        return self.usage.output_tokens / seconds if seconds else 0.0

    def seconds_left(self) -> float | None:
        """Return the estimated time to completion, None before the first result."""
        finished = self.counts.completed + self.counts.failed
        total = self.total_counts()
        left = self.total - total.completed - total.failed
        return self._elapsed_seconds() / finished * left if finished else None

    def _elapsed_seconds(self) -> float:
        return time.monotonic() - self.started_at if self.started_at else 0.0
