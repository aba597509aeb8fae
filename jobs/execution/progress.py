"""What a run has done so far, for progress displays."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from threading import Lock
from typing import NamedTuple

from batchchat.jobs.catalog.download_watch import DownloadWatch
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.engine.protocol import EngineActivity
from batchchat.jobs.execution.throughput import Throughput
from batchchat.jobs.ledger.checkpoint import Result, tally
from batchchat.jobs.ledger.records import Counts

_MIN_RESULTS = 16
"""Results before the time to completion is estimated, or a quarter of the batch."""

_MAX_STARTED_SHARE = 0.9


class EngineProgress(NamedTuple):
    """What one of several engines does, for display.

    `place` names what it runs on. `state` is empty while it computes, and otherwise
    says why it does not.
    """

    number: int
    place: str
    state: str
    running: int
    tokens_per_second: float


class Progress:
    """Counters that threads update and a display reads.

    `phase` is checking, waiting, loading, running, finalizing or delivering. While the
    engine starts, `loading_step` is what it does at the moment, and `download` measures
    the download of the model, if there is one. `recovered` counts the results from
    before this run. `activity` is that of the engine, None if it is not known. While
    the run is blocked, `waiting_for` names what it waits for, such as the storage, and
    `waiting_reason` is the reason; otherwise `waiting_reason` is None. `notices` are
    messages that a display shows once and removes. `engines` is what each of several
    engines does.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with all counters at zero; `clock` returns seconds."""
        self.phase = "checking"
        self.loading_step = ""
        self.download: DownloadWatch | None = None
        self.total = 0
        self.recovered = Counts()
        self.counts = Counts()
        self.usage = Usage()
        self.recovered_usage = Usage()
        self.waiting_reason: str | None = None
        self.waiting_for = "storage"
        self.activity: EngineActivity | None = None
        self.engines: list[EngineProgress] = []
        self.on_result: Callable[[], object] = lambda: None
        self.checked_requests = 0
        self.notices: deque[str] = deque()
        self._throughput = Throughput(clock)
        self._lock = Lock()

    def start(self, before: Counts, usage: Usage = Usage()) -> None:  # noqa: B008 - frozen
        """Record that the engine is ready; `before` counts the committed results."""
        with self._lock:
            self.phase = "running"
            self._throughput.restart()
            self.recovered, self.counts, self.usage = before, Counts(), Usage()
            self.recovered_usage = usage

    def on_loading_step(self, step: str, download: DownloadWatch | None = None) -> None:
        """Record what the start of the engine does now; see the class."""
        self.loading_step, self.download = step, download

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

    def observe(self, activity: EngineActivity) -> None:
        """Record what the engine has done and is doing."""
        with self._lock:
            self.activity = activity
            self._throughput.observe(
                activity.generated_tokens, sum(self.counts.done()) + self._started()
            )

    def update_remote(self, counts: Counts, usage: Usage) -> None:
        """Record the total that a run in another process has reached."""
        completed = counts.completed - self.recovered.completed
        failed = counts.failed - self.recovered.failed
        with self._lock:
            self.counts = Counts(counts.total, completed, failed)
            self.usage = usage
            self._throughput.observe(usage.output_tokens, completed + failed)

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
        """Return the generated tokens per second over the last seconds."""
        with self._lock:
            return self._throughput.tokens_per_second()

    def stalled_seconds(self) -> float:
        """Return for how long the engine has had requests and finished no step."""
        return (self.activity.idle_seconds if self.activity else None) or 0.0

    def seconds_left(self) -> float | None:
        """Return the estimated time to completion, None until the speed is stable."""
        finished = sum(self.counts.done())
        running = self.activity.running if self.activity else 0
        needed = min(max(_MIN_RESULTS, running), self.total / 4)
        if finished < needed:  # short answers finish first: the mean is too small
            return None
        with self._lock:
            left = self.total - sum(self.total_counts().done()) - self._started()
            rate = self._throughput.requests_per_second()
        return left / rate if rate else None

    def _started(self) -> float:
        """Return the unfinished requests in units of finished ones.

        A request counts by its tokens, as a share of what an answer has on average.
        """
        activity, finished = self.activity, sum(self.counts.done())
        if activity is None or not finished or not self.usage.output_tokens:
            return 0.0
        mean = self.usage.output_tokens / finished
        share = activity.unfinished_tokens / mean
        return min(share, _MAX_STARTED_SHARE * activity.running)
