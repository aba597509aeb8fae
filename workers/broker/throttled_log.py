"""Logs a recurring failure once, then once a minute, and its recovery."""

import logging
import time
from collections.abc import Callable
from threading import Lock, get_ident

log = logging.getLogger(__name__)

_REPEAT_SECONDS = 60.0
_RECOVERED_AFTER_SECONDS = 10.0
"""Time without a failure after which the failure counts as over."""


class ThrottledLog:
    """Reports the failures of one service that many threads meet at the same time."""

    def __init__(
        self, service: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`service` starts each line of the log."""
        self._service = service
        self._clock = clock
        self._lock = Lock()
        self._failing_threads: set[int] = set()
        self._failed_at = 0.0
        self._logged_at: float | None = None

    def report(self, problem: str | None) -> None:
        """Record the result of a call by this thread; None means that it succeeded."""
        with self._lock:
            if problem is None:
                self._report_success()
            else:
                self._report_failure(problem)

    def _report_success(self) -> None:
        self._failing_threads.discard(get_ident())
        if self._logged_at is None or self._failing_threads:
            return
        if self._clock() - self._failed_at >= _RECOVERED_AFTER_SECONDS:
            self._logged_at = None
            log.warning("%s: available again", self._service)

    def _report_failure(self, problem: str) -> None:
        now = self._clock()
        self._failing_threads.add(get_ident())
        self._failed_at = now
        if self._logged_at is None or now - self._logged_at >= _REPEAT_SECONDS:
            self._logged_at = now
            log.warning("%s: %s", self._service, problem)
