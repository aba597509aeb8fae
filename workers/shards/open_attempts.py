"""The attempts that run on an engine, and the sums of what they have done."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from threading import Lock
from typing import NamedTuple

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.execution.attempt import Attempt
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.ledger.records import Counts
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.workers.broker.messages import WorkMessage


@dataclass
class OpenAttempt:
    """A running attempt, with the means to stop and to watch it."""

    stop: ShutdownSignal = field(default_factory=ShutdownSignal)
    progress: Progress = field(default_factory=Progress)
    attempt: Attempt | None = None
    is_committed: bool = False

    def progress_counter(self) -> int:
        """Return a number that grows while the attempt makes progress."""
        return self.attempt.progress_counter if self.attempt else 0

    @property
    def in_flight(self) -> int:
        """The number of requests that the engine has."""
        return self.attempt.in_flight if self.attempt else 0


class WorkDone(NamedTuple):
    """Results that attempts recovered from checkpoints, and those they generated."""

    recovered: Counts = Counts()
    generated: Counts = Counts()
    usage: Usage = Usage()
    """Tokens of the generated results."""

    @classmethod
    def of(cls, progress: Progress) -> "WorkDone":
        """Return the work of one attempt."""
        return cls(progress.recovered, progress.counts, progress.usage)

    def plus(self, other: "WorkDone") -> "WorkDone":
        """Return the sum."""
        return WorkDone(
            self.recovered + other.recovered,
            self.generated + other.generated,
            self.usage + other.usage,
        )


class OpenAttempts:
    """The attempts of one host; safe for use by threads."""

    def __init__(self) -> None:
        """Start without attempts."""
        self._lock = Lock()
        self._open: dict[WorkMessage, OpenAttempt] = {}
        self._fully_fed = 0
        self._committed = WorkDone()
        self._closed = WorkDone()

    def items(self) -> dict[WorkMessage, OpenAttempt]:
        """Return the open attempts by their message."""
        with self._lock:
            return dict(self._open)

    @property
    def fully_fed(self) -> int:
        """The number of attempts that only wait for answers."""
        return self._fully_fed

    @contextmanager
    def opened(self, message: WorkMessage, attempt: OpenAttempt) -> Iterator[None]:
        """Count an attempt as open during the block."""
        with self._lock:
            self._open[message] = attempt
        try:
            yield
        finally:
            with self._lock:
                del self._open[message]
                work = WorkDone.of(attempt.progress)
                self._closed = self._closed.plus(work)
                if attempt.is_committed:
                    self._committed = self._committed.plus(work)

    @contextmanager
    def waiting_for_answers(self) -> Iterator[None]:
        """Count an attempt as fully fed during the block."""
        with self._lock:
            self._fully_fed += 1
        try:
            yield
        finally:
            with self._lock:
                self._fully_fed -= 1

    def work_done(self) -> WorkDone:
        """Return the work of all attempts, whether or not its results were kept."""
        with self._lock:
            return reduce(WorkDone.plus, self._open_work(), self._closed)

    def committed(self) -> WorkDone:
        """Return the results of the committed attempts."""
        with self._lock:
            return self._committed

    def results(self) -> WorkDone:
        """Return the results of the committed and the open attempts.

        The next attempt counts the results again that an attempt has handed back.
        """
        with self._lock:
            return reduce(WorkDone.plus, self._open_work(), self._committed)

    def _open_work(self) -> Iterator[WorkDone]:
        return (WorkDone.of(attempt.progress) for attempt in self._open.values())
