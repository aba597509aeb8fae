"""What a run has done so far, for whoever shows it."""

import time
from collections.abc import Callable, Iterable
from threading import Lock

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.checkpoint import Result, counts_of
from batchchat.jobs.ledger.records import Counts


class Progress:
    """Counters that threads add to and a display reads.

    `phase` is checking, waiting, loading, running, finalizing or delivering. `kept`
    are the results that were there before; `trouble` is what the run waits for, such
    as room on a disk, None when it doesn't.
    """

    def __init__(self) -> None:
        """Start at nothing."""
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
        """Note that an engine is there; `before` is what is committed already."""
        with self._lock:
            self.phase = "running"
            self.started_at = time.monotonic()
            self.recovered, self.counts, self.usage = before, Counts(), Usage()
            self.recovered_usage = usage

    def on_checked(self, _bytes: int, requests: int) -> None:
        """Note how much of the input has been checked."""
        self.checked_requests = requests

    def add(self, results: Iterable[Result]) -> None:
        """Count results of this run."""
        counts, usage, _ = counts_of(results)
        with self._lock:
            self.counts += counts
            self.usage += usage
        self.on_result()

    def add_recovered(self, counts: Counts, usage: Usage) -> None:
        """Count results that were there before."""
        with self._lock:
            self.recovered += counts
            self.recovered_usage += usage

    def update_remote(self, counts: Counts, usage: Usage) -> None:
        """Note what a run elsewhere has done, since `begin` and before it."""
        mine = Counts(
            counts.total,
            counts.completed - self.recovered.completed,
            counts.failed - self.recovered.failed,
        )
        with self._lock:
            self.counts, self.usage = mine, usage

    def set_waiting(self, waiting_reason: str | None, whom: str = "storage") -> None:
        """Note what the run waits for, and of whom."""
        self.waiting_for, self.waiting_reason = whom, waiting_reason

    def total_counts(self) -> Counts:
        """Return all that is done, by this run and before it."""
        return self.recovered + self.counts

    def total_usage(self) -> Usage:
        """Return the tokens of all that is done, by this run and before it."""
        return self.recovered_usage + self.usage

    def tokens_per_second(self) -> float:
        """Return the tokens that this run generates in a second."""
        seconds = self._seconds()
        return self.usage.output_tokens / seconds if seconds else 0.0

    def seconds_left(self) -> float | None:
        """Return how long the rest takes at this pace, None where nobody can know."""
        mine = self.counts.completed + self.counts.failed
        done = self.total_counts()
        left = self.total - done.completed - done.failed
        return self._seconds() / mine * left if mine else None

    def _seconds(self) -> float:
        return time.monotonic() - self.started_at if self.started_at else 0.0
