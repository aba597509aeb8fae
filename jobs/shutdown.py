"""How a run is asked to end: no more requests, then a grace, then at once."""

import time
from threading import Event


class Stop:
    """Set once by a signal, a cancel or an expiry; looked at by every thread."""

    def __init__(self) -> None:
        """Begin unasked."""
        self._asked = Event()
        self._deadline = 0.0

    def ask(self, grace: float) -> None:
        """Ask for the end; running requests get `grace` seconds to finish."""
        self._deadline = time.monotonic() + grace
        self._asked.set()

    @property
    def asked(self) -> bool:
        """Whether nothing new should be begun."""
        return self._asked.is_set()

    @property
    def over(self) -> bool:
        """Whether the grace has run out as well."""
        return self.asked and time.monotonic() >= self._deadline
