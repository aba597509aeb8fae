"""Says that something fails: once, again each minute, and when it is over."""

import logging
import time
from collections.abc import Callable
from threading import Lock, get_ident

log = logging.getLogger(__name__)

_AGAIN = 60.0
_CALM = 10.0
"""Seconds without a failure after which it is taken to be over."""


class ThrottledLog:
    """What many threads meet at once, and each of them many times."""

    def __init__(self, about: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Speak of `about`."""
        self._about = about
        self._clock = clock
        self._lock = Lock()
        self._waiting: set[int] = set()
        self._met = 0.0
        self._said: float | None = None

    def report(self, problem: str | None) -> None:
        """Note what went wrong for this thread, None when it goes well."""
        with self._lock:
            now = self._clock()
            if problem is None:
                self._waiting.discard(get_ident())
                is_over = not self._waiting and now - self._met >= _CALM
                if self._said is not None and is_over:
                    self._said = None
                    log.warning("%s: answers again", self._about)
                return
            self._waiting.add(get_ident())
            self._met = now
            if self._said is None or now - self._said >= _AGAIN:
                self._said = now
                log.warning("%s: %s", self._about, problem)
