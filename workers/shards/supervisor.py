"""Starts a worker again when it died; ends when it is told to."""

import ctypes
import logging
import signal
import subprocess
import time
from collections.abc import Sequence
from types import FrameType

from batchchat.jobs.backoff import Backoff

_PR_SET_PDEATHSIG = 1
_BACKOFF = Backoff(first=1.0, longest=30.0)
_STEADY = 120.0
"""Seconds after which a worker is taken to have run well."""

_HOPELESS = 2
"""Exit status of a worker that can't work here at all: another try is no use."""

log = logging.getLogger(__name__)


class Supervisor:
    """Keeps one worker process running.

    The worker has a session of its own, so that a Ctrl-C in a terminal reaches it
    once, from here. It is told to end when this process dies, however that came.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Start workers by `command`."""
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._asked = False

    def run(self) -> int:
        """Return the exit status of the last worker."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)
        deaths = 0
        while True:
            began = time.monotonic()
            code = self._run_once()
            if self._asked or code in {0, _HOPELESS}:
                return code if code >= 0 else 128 - code
            if time.monotonic() - began > _STEADY:
                deaths = 0
            deaths += 1
            wait = _BACKOFF.seconds(deaths)
            log.warning("the worker ended with %d; another starts in %.1fs", code, wait)
            if self._was_asked_within(wait):
                return 0

    def _run_once(self) -> int:
        libc = ctypes.CDLL(None)
        self._child = subprocess.Popen(  # noqa: S603 - our own command
            self._command,
            start_new_session=True,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),  # noqa: PLW1509
        )
        if self._asked:  # the signal came while there was no child
            self._child.terminate()
        return self._child.wait()

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._asked = True
        if self._child and self._child.poll() is None:
            self._child.send_signal(number)

    def _was_asked_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not self._asked and time.monotonic() < until:
            time.sleep(0.1)
        return self._asked
