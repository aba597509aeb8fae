"""Stops work that takes too much CPU time, such as a template's endless loop.

A watchdog thread raises an exception in the thread that does the work. The work itself
pays only for its registration.
"""

import ctypes
import os
import time
from collections.abc import Callable
from threading import Lock, Thread, get_ident, local
from typing import TypeVar

_POLL_SECONDS = 0.2
_REPEAT_CPU_SECONDS = 1.0
"""CPU time after which an interruption that had no effect is repeated.

It has none if it is raised where Python ignores exceptions, such as in `__del__`.
"""

R = TypeVar("R")


class TimeLimitError(Exception):
    """The work took too much CPU time."""


class _InterruptionError(BaseException):
    """Raised by the watchdog, at any line of the work.

    It is no `Exception`, so that the work does not catch it.
    """


class _Worker:
    """A thread that does limited work; created in that thread."""

    def __init__(self) -> None:
        self._ident = get_ident()
        self._clock = _thread_clock(self._ident)

    def seconds(self) -> float:
        """Return the CPU time of the thread so far, 0 if the thread has ended."""
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            return 0.0

    def set_exception(self, kind: type[BaseException] | None) -> None:
        """Make the thread raise `kind` at its next line; None takes that back."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self._ident), kind and ctypes.py_object(kind)
        )


class Watchdog:
    """Interrupts runs, each of which is an `object()` of its own.

    A run ends by removing itself from `running`. Before an interruption the watchdog
    does the same, and only one of both succeeds. A run that was interrupted therefore
    knows it, and takes back an exception that was not raised yet.
    """

    def __init__(self) -> None:
        """Start no thread before the first run."""
        self.running: dict[object, tuple[_Worker, float]] = {}
        """The thread of each run, and its limit in CPU seconds."""

        self.local = local()
        self._interrupted: dict[object, _Worker] = {}
        self._lock = Lock()
        self._thread: Thread | None = None

    def new_worker(self) -> _Worker:
        """Return a worker for the calling thread."""
        with self._lock:
            if self._thread is None:
                self._thread = Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()
        self.local.worker = _Worker()
        return self.local.worker  # type: ignore[no-any-return]

    def settle(self, run: object, worker: _Worker) -> None:
        """Have an interrupted run get no exception from now on."""
        with self._lock:
            self._interrupted.pop(run, None)
            worker.set_exception(None)

    def _watch(self) -> None:
        deadlines: dict[object, float] = {}
        while True:
            time.sleep(_POLL_SECONDS)
            runs = dict(self.running)
            runs |= {run: (it, 0.0) for run, it in list(self._interrupted.items())}
            seen, deadlines = deadlines, {}
            for run, (worker, limit) in runs.items():
                seconds = worker.seconds()
                deadlines[run] = seen.get(run, seconds + limit)
                if seconds >= deadlines[run]:
                    self._interrupt(run, worker)
                    deadlines[run] = seconds + _REPEAT_CPU_SECONDS

    def _interrupt(self, run: object, worker: _Worker) -> None:
        with self._lock:
            if self.running.pop(run, None) or run in self._interrupted:
                self._interrupted[run] = worker
                worker.set_exception(_InterruptionError)


def _thread_clock(ident: int) -> int:
    """Return the clock of a thread's CPU time; without one, that of the time."""
    if hasattr(time, "pthread_getcpuclockid"):
        return time.pthread_getcpuclockid(ident)
    return time.CLOCK_MONOTONIC


_watchdog = Watchdog()


def _forget_threads() -> None:
    """Start again in a forked child, which has only one of the threads."""
    global _watchdog  # noqa: PLW0603 - one for the process
    _watchdog = Watchdog()


os.register_at_fork(after_in_child=_forget_threads)


def limit_cpu_time(limit: float, work: Callable[[], R]) -> R:
    """Return the result of `work`, which may use `limit` CPU seconds of this thread.

    The watchdog looks several times a second, so work may use slightly more.

    Raises:
        TimeLimitError: it used more.

    """
    watchdog, run = _watchdog, object()
    try:
        worker = watchdog.local.worker
    except AttributeError:
        worker = watchdog.new_worker()
    watchdog.running[run] = worker, limit
    try:
        try:
            return work()
        finally:
            if watchdog.running.pop(run, None) is None:
                raise _InterruptionError
    except _InterruptionError:
        watchdog.settle(run, worker)
        raise TimeLimitError from None
