"""Restarts a worker or a controller that died, until a signal arrives."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import FrameType, MappingProxyType
from typing import NamedTuple

from batchchat.jobs.backoff import Backoff
from batchchat.workers.exit_codes import CANNOT_RUN
from batchchat.workers.process_lifetime import kill_with_parent

_BACKOFF = Backoff(first=1.0, longest=30.0)
_STABLE_SECONDS = 120.0
"""Run time after which the next restart is as quick as the first one."""

_POLL_SECONDS = 0.1

log = logging.getLogger(__name__)


class Part(NamedTuple):
    """The part of this machine that a process uses: its variables, and its cores."""

    environment: Mapping[str, str] = MappingProxyType({})
    cores: tuple[int, ...] = ()


WHOLE = Part()
"""Whatever this process may use."""


def supervise(name: str, *options: str) -> int:
    """Keep the command `batchchat NAME` running; return its last exit status."""
    return supervisor(name, *options).run()


def supervisor(
    name: str, *options: str, log_name: str | None = None, part: Part = WHOLE
) -> "Supervisor":
    """Return what keeps `batchchat NAME` running, on a `part` of this machine."""
    command = [sys.executable, "-P", "-m", "batchchat.cli.main", name, *options]
    return Supervisor(log_name or name, [*command, "--no-restart"], part)


def supervise_all(supervisors: Sequence["Supervisor"]) -> int:
    """Keep several processes running until a signal; return the last exit status.

    A process that cannot run is left out while others run.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *signalled: _forward_all(supervisors, *signalled))
    # A process dies with the thread that started it, which waits for its end.
    with ThreadPoolExecutor(len(supervisors), "supervisor") as pool:
        return max(pool.map(Supervisor.keep, supervisors))


def _forward_all(
    supervisors: Sequence["Supervisor"], number: int, _frame: FrameType | None
) -> None:
    for one in supervisors:
        one.stop(number)


class Supervisor:
    """Keeps one process running.

    The process has a session of its own, so that a Ctrl-C in a terminal reaches it
    once, through this process. It gets a SIGTERM when this process dies.
    """

    def __init__(self, name: str, command: Sequence[str], part: Part = WHOLE) -> None:
        """Start processes by `command`, and call them `name` in the log.

        They use a `part` of this machine.
        """
        self._name = name
        self._command = command
        self._part = part
        self._child: subprocess.Popen[bytes] | None = None
        self._stop_requested = False

    def run(self) -> int:
        """Keep the process running until a signal; see `keep`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda given, _: self.stop(given))
        return self.keep()

    def keep(self) -> int:
        """Return the exit status of the last process.

        A process that cannot run is restarted if an earlier one could: what it lacks,
        such as a user of Redis, may have been removed by mistake.
        """
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
            env=os.environ | self._part.environment,
            preexec_fn=partial(_prepare, os.getpid(), self._part.cores),  # noqa: PLW1509
        )
        if self._stop_requested:  # the signal arrived while there was no child
            self._child.terminate()
        return self._child.wait()

    def stop(self, number: int) -> None:
        """Forward a signal to the process, and start no other."""
        self._stop_requested = True
        if self._child and self._child.poll() is None:
            self._child.send_signal(number)

    def _wait_for_stop(self, seconds: float) -> bool:
        """Wait up to `seconds`; return whether a signal requested a stop."""
        until = time.monotonic() + seconds
        while not self._stop_requested and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        return self._stop_requested


def _prepare(parent: int, cores: Sequence[int]) -> None:
    kill_with_parent(parent, signal.SIGTERM)
    if cores:
        os.sched_setaffinity(0, cores)
