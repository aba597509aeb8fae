"""Shows how a run goes: a line that moves in a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.format import count, duration, short
from batchchat.jobs.execution.progress import Progress

_BAR = 24
_LOOK = 0.25
_LINE_EVERY = 5.0
_PHASES = {
    "checking": "checking the input",
    "loading": "loading the model",
    "finalizing": "writing the results",
    "delivering": "delivering the results",
    "waiting": "waiting for the first results",
}


Bar = Callable[[float], str]
"""Draws a bar of a share from 0 to 1, or nothing where there is no room for one."""


class Told(NamedTuple):
    """What there is to say now, and in which phase: a new phase is said at once."""

    phase: str
    line: str


Tell = Callable[[Bar], Told]


class Display:
    """Reports on stderr how something goes, until it is stopped."""

    def __init__(self, tell: Tell, *, shown: bool) -> None:
        """Ask `tell` again and again; say nothing unless `shown`."""
        self._tell = tell
        self._done = threading.Event()
        report = self._move if terminal.is_terminal() else self._print_lines
        self._thread = threading.Thread(target=report, name="display", daemon=True)
        if shown:
            self._thread.start()

    def stop(self) -> None:
        """Report no more, and leave the screen clean."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(2)

    def _move(self) -> None:
        """Rewrite one line of the terminal."""
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console(file=terminal.stderr(), highlight=False)
        live = Live(
            console=console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,  # what libraries print goes to the engine's log
            redirect_stderr=False,
        )
        with live:
            while not self._done.wait(_LOOK):
                text = self._tell(_bar).line
                live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def _print_lines(self) -> None:
        """Print a line when the phase changes, and every few seconds a new one."""
        phase, said, next_line = "", "", 0.0
        while not self._done.wait(_LOOK):
            told, now = self._tell(lambda _share: ""), time.monotonic()
            if told.line != said and (told.phase != phase or now >= next_line):
                terminal.say(told.line)
                phase, said, next_line = *told, now + _LINE_EVERY


def told_of(progress: Progress) -> Tell:
    """Return what tells how a run goes."""

    def tell(bar: Bar) -> Told:
        phase = "waiting" if progress.trouble else progress.phase
        return Told(phase, _line(progress, bar))

    return tell


def _line(progress: Progress, bar: Bar) -> str:
    """Return what there is to say now."""
    if progress.trouble:
        return f"waiting for the {progress.awaited}: {progress.trouble}"
    if progress.phase == "running":
        return _running(progress, bar)
    checked = progress.checked_requests if progress.phase == "checking" else 0
    return _PHASES[progress.phase] + (f": {count(checked)} requests" if checked else "")


def _running(progress: Progress, bar: Bar) -> str:
    counts = progress.so_far()
    done = counts.completed + counts.failed
    share = done / progress.total if progress.total else 1.0
    left, speed = progress.seconds_left(), progress.tokens_per_second()
    parts = [
        f"{bar(share)}{share:.0%}",
        f"{count(done)} / {count(progress.total)} requests",
        f"{count(counts.failed)} failed",
        f"{short(speed)} tokens/s" if speed else "",
        f"about {duration(left)} left" if left is not None else "",
    ]
    return "  ".join(part for part in parts if part)


def _bar(share: float) -> str:
    filled = round(share * _BAR)
    return f"{'━' * filled}{'╌' * (_BAR - filled)}  "
