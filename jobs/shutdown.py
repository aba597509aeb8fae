"""Orderly shutdown: no new requests, a grace period, then an immediate end."""

import time
from threading import Event


class ShutdownSignal:
    """A request to stop, set by a signal, a cancellation or an expiry. Thread-safe."""

    def __init__(self) -> None:
        """Start without a request."""
        self._requested = Event()
        self._deadline = 0.0

    def request(self, grace: float) -> None:
        """Request the end; running requests get `grace` seconds to finish."""
        self._deadline = time.monotonic() + grace
        self._requested.set()

    @property
    def requested(self) -> bool:
        """Whether no new work should start."""
        return self._requested.is_set()

    @property
    def remaining(self) -> float:
        """Seconds that running requests still have to finish."""
        return max(0.0, self._deadline - time.monotonic()) if self.requested else 0.0

    @property
    def deadline_passed(self) -> bool:
        """Whether the grace period is over, too."""
        return self.requested and time.monotonic() >= self._deadline
