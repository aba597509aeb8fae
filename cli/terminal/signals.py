"""Handle Ctrl-C: the first one stops the run gracefully, the second at once.

The batch can be resumed after either.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from batchchat.cli.terminal import streams
from batchchat.cli.terminal.format import duration
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.shutdown import ShutdownSignal

INTERRUPTED = 130
"""Exit status of a process that Ctrl-C ended, as in shells."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(
    batch_id: str, progress: Progress, stop: ShutdownSignal, grace: float
) -> Iterator[None]:
    """Request `stop` on SIGINT or SIGTERM; end the process on a second one.

    `grace` is how many seconds running requests get to finish.
    """

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if stop.requested or progress.phase in {"checking", "loading"}:
            _exit_immediately(batch_id)
        stop.request(grace)
        streams.info()  # after the ^C that the terminal shows
        streams.info(
            f"stopping: running requests get {duration(grace)} to finish;"
            " press Ctrl-C again to stop immediately"
        )

    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _exit_immediately(batch_id: str) -> NoReturn:
    """End this process; the engine's processes end with it."""
    streams.info()
    streams.info(f"stopped; continue with `batchchat resume {batch_id}`")
    os._exit(INTERRUPTED)
