"""Retry while the server is unavailable, for a limited time."""

import time

from batchchat.cli.terminal import streams
from batchchat.jobs.backoff import Backoff
from batchchat.jobs.errors import ServerError

_BACKOFF = Backoff(first=0.5, longest=8.0)


class RetryBudget:
    """Pauses between attempts; gives up some seconds after the first failure."""

    def __init__(self, seconds: float) -> None:
        """Allow retries for `seconds` after the first failure."""
        self._seconds = seconds
        self.reset()

    def reset(self) -> None:
        """Start over, after a success."""
        self._deadline: float | None = None
        self._failures = 0

    def wait(self, error: ServerError) -> None:
        """Pause before the next attempt. Raises `error` when the time is used up."""
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._seconds
            if self._seconds:
                streams.info(f"waiting for the server: {error.message}")
        self._failures += 1
        pause = max(_BACKOFF.seconds(self._failures), error.retry_after)
        if now + pause > self._deadline:
            raise error
        time.sleep(pause)
