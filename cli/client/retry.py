"""How long a server that fails is waited for."""

import time

from batchchat.cli.terminal import streams as terminal
from batchchat.jobs.errors import ServerError

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0


class Patience:
    """Waits between tries, and gives up some seconds after the first failure."""

    def __init__(self, seconds: float) -> None:
        """Give up after `seconds` without success."""
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Begin afresh, as something has succeeded."""
        self._until: float | None = None
        self._wait = _FIRST_WAIT

    def wait(self, error: ServerError) -> None:
        """Wait until it is worth another try. Raises `error` when it is not."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
            if self._seconds:
                terminal.say(f"waiting for the server: {error.message}")
        pause = max(self._wait, error.after)
        if now + pause > self._until:
            raise error
        time.sleep(pause)
        self._wait = min(2 * self._wait, _LONGEST_WAIT)
