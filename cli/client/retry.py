"""Retry while the server is unavailable, for a limited time."""

import time

from batchchat.cli.terminal import streams
from batchchat.jobs.errors import ServerError

_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 8.0


class RetryBudget:
    """Pauses between attempts; gives up some seconds after the first failure."""

    def __init__(self, seconds: float) -> None:
        """Allow retries for `seconds` after the first failure."""
        self._seconds = seconds
        self.reset()

    def reset(self) -> None:
        """Start over, after a success."""
        self._deadline: float | None = None
        self._pause = _FIRST_PAUSE_SECONDS

    def wait(self, error: ServerError) -> None:
        """Pause before the next attempt. Raises `error` when the time is used up."""
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._seconds
            if self._seconds:
                streams.info(f"waiting for the server: {error.message}")
        pause = max(self._pause, error.retry_after)
        if now + pause > self._deadline:
            raise error
        time.sleep(pause)
        self._pause = min(2 * self._pause, _MAX_PAUSE_SECONDS)
