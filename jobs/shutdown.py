"""How a run is asked to end: no more requests, then a grace, then at once."""

import time
from threading import Event


class ShutdownSignal:
    """Set once by a signal, a cancel or an expiry; looked at by every thread."""

    def __init__(self) -> None:
        """Begin unasked."""
        self._requested = Event()
        self._deadline = 0.0

    def request(self, grace: float) -> None:
        """Ask for the end; running requests get `grace` seconds to finish."""
        self._deadline = time.monotonic() + grace
        self._requested.set()

    @property
    def requested(self) -> bool:
        """Whether nothing new should be begun."""
        return self._requested.is_set()

    @property
    def remaining(self) -> float:
        """Seconds that running requests still have to finish."""
        return max(0.0, self._deadline - time.monotonic()) if self.requested else 0.0

    @property
    def deadline_passed(self) -> bool:
        """Whether the grace has run out as well."""
        return self.requested and time.monotonic() >= self._deadline
