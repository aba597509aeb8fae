"""Ctrl-C: once ends the run cleanly, twice at once; it can be resumed after both."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.format import duration
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.shutdown import Stop

INTERRUPTED = 130
"""Exit status of a process that Ctrl-C ended, as shells have it."""


@contextmanager
def interruptible(
    batch_id: str, progress: Progress, stop: Stop, grace: float
) -> Iterator[None]:
    """Let SIGINT and SIGTERM ask `stop`; a second one ends the process."""

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if stop.asked or progress.phase in {"checking", "loading"}:
            _leave(batch_id)
        stop.ask(grace)
        terminal.say(
            f"\nstopping: running requests get {duration(grace)} to finish;"
            " press Ctrl-C again to stop at once"
        )

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _leave(batch_id: str) -> NoReturn:
    """End at once: the engine's processes die with this one."""
    terminal.say(f"\nstopped; go on with `batchchat resume {batch_id}`")
    os._exit(INTERRUPTED)
