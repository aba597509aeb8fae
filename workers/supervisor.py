"""Restarts a worker or a controller that died, until a signal arrives."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from types import FrameType

from batchchat.jobs.backoff import Backoff
from batchchat.workers.exit_codes import CANNOT_RUN
from batchchat.workers.process_lifetime import kill_with_parent

_BACKOFF = Backoff(first=1.0, longest=30.0)
_STABLE_SECONDS = 120.0
"""Run time after which the next restart is as quick as the first one."""

_POLL_SECONDS = 0.1

log = logging.getLogger(__name__)


def supervise(name: str, *options: str) -> int:
    """Keep the command `batchchat NAME` running; return its last exit status."""
    command = [sys.executable, "-P", "-m", "batchchat.cli.main", name, *options]
    return Supervisor(name, [*command, "--no-restart"]).run()


class Supervisor:
    """Keeps one process running.

    The process has a session of its own, so that a Ctrl-C in a terminal reaches it
    once, through this process. It gets a SIGTERM when this process dies.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        """Start processes by `command`, and call them `name` in the log."""
        self._name = name
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._stop_requested = False

    def run(self) -> int:
        """Return the exit status of the last process.

        A process that cannot run is restarted if an earlier one could: what it lacks,
        such as a user of Redis, may have been removed by mistake.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._forward)
        deaths = 0
        while True:
            began = time.monotonic()
            status = self._run_once()
            is_final = status == 0 or (status == CANNOT_RUN and deaths == 0)
            if self._stop_requested or is_final:
                return status if status >= 0 else 128 - status
            is_stable = time.monotonic() - began > _STABLE_SECONDS
            deaths = 1 if is_stable else deaths + 1
            pause = _BACKOFF.seconds(deaths)
            log.warning(
                "the %s exited with status %d; restarting in %.1fs",
                self._name,
                status,
                pause,
            )
            if self._wait_for_stop(pause):
                return 0

    def _run_once(self) -> int:
        self._child = subprocess.Popen(  # noqa: S603 - the command is our own
            self._command,
            start_new_session=True,
            preexec_fn=partial(kill_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509
        )
        if self._stop_requested:  # the signal arrived while there was no child
            self._child.terminate()
        return self._child.wait()

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self._stop_requested = True
        if self._child and self._child.poll() is None:
            self._child.send_signal(number)

    def _wait_for_stop(self, seconds: float) -> bool:
        """Wait up to `seconds`; return whether a signal requested a stop."""
        until = time.monotonic() + seconds
        while not self._stop_requested and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        return self._stop_requested
