"""Show progress on stderr: one updating line in a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from batchchat.cli.terminal import streams
from batchchat.cli.terminal.format import count, duration, short
from batchchat.jobs.execution.progress import Progress

_BAR_WIDTH = 24
_REFRESH_SECONDS = 0.25
_PLAIN_LINE_SECONDS = 5.0
_STOP_TIMEOUT_SECONDS = 2.0
_PHASES = {
    "checking": "checking the input",
    "loading": "loading the model",
    "finalizing": "writing the results",
    "delivering": "delivering the results",
    "waiting": "waiting for the first results",
}


BarRenderer = Callable[[float], str]
"""Draws a bar for a share from 0 to 1; returns "" where there is no room for one."""


class ProgressLine(NamedTuple):
    """One line of progress; a new phase is printed without delay."""

    phase: str
    text: str


DescribeProgress = Callable[[BarRenderer], ProgressLine]


class ProgressDisplay:
    """Shows progress on stderr until it is stopped."""

    def __init__(self, describe: DescribeProgress, *, show_progress: bool) -> None:
        """Poll `describe` in a thread; do nothing unless `show_progress`."""
        self._describe = describe
        self._done = threading.Event()
        run = self._update_line if streams.stderr_is_terminal() else self._print_lines
        self._thread = threading.Thread(target=run, name="progress", daemon=True)
        if show_progress:
            self._thread.start()

    def stop(self) -> None:
        """Stop, and clear the progress line."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_TIMEOUT_SECONDS)

    def _update_line(self) -> None:
        """Rewrite one line of the terminal."""
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console(file=streams.stderr(), highlight=False)
        live = Live(
            console=console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,  # `engine_output` redirects what libraries print
            redirect_stderr=False,
        )
        with live:
            while not self._done.wait(_REFRESH_SECONDS):
                text = self._describe(_draw_bar).text
                live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def _print_lines(self) -> None:
        """Print a line when the phase changes, otherwise one every few seconds."""
        last, next_print = ProgressLine("", ""), 0.0
        while not self._done.wait(_REFRESH_SECONDS):
            line, now = self._describe(lambda _share: ""), time.monotonic()
            is_due = line.phase != last.phase or now >= next_print
            if line.text != last.text and is_due:
                streams.info(line.text)
                last, next_print = line, now + _PLAIN_LINE_SECONDS


def run_progress_line(progress: Progress) -> DescribeProgress:
    """Return what describes the progress of a run."""

    def describe(bar: BarRenderer) -> ProgressLine:
        phase = "waiting" if progress.waiting_reason else progress.phase
        return ProgressLine(phase, _text(progress, bar))

    return describe


def _text(progress: Progress, bar: BarRenderer) -> str:
    if progress.waiting_reason:
        return f"waiting for the {progress.waiting_for}: {progress.waiting_reason}"
    if progress.phase == "running":
        return _running_text(progress, bar)
    checked = progress.checked_requests if progress.phase == "checking" else 0
    return _PHASES[progress.phase] + (f": {count(checked)} requests" if checked else "")


def _running_text(progress: Progress, bar: BarRenderer) -> str:
    counts = progress.total_counts()
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


def _draw_bar(share: float) -> str:
    filled = round(share * _BAR_WIDTH)
    return f"{'━' * filled}{'╌' * (_BAR_WIDTH - filled)}  "
