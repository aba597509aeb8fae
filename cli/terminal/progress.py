"""Show progress on stderr: one updating line in a terminal, plain lines elsewhere."""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from batchchat.cli.terminal import streams
from batchchat.cli.terminal.format import count, duration, short, size
from batchchat.cli.terminal.progress_line import Part, ProgressLine, fit, full_text
from batchchat.jobs.execution.progress import EngineProgress, Progress
from batchchat.jobs.printable import printable

_REFRESH_SECONDS = 0.25
_PLAIN_LINE_SECONDS = 5.0
_STOP_TIMEOUT_SECONDS = 2.0
_WARM_UP_SECONDS = 3.0
_PHASES = {
    "checking": "checking the input",
    "loading": "loading the model",
    "finalizing": "writing the results",
    "delivering": "delivering the results",
    "waiting": "waiting for the first results",
    "blocked": "waiting for the cluster",
}

DescribeProgress = Callable[[], ProgressLine]


class ProgressDisplay:
    """Shows progress on stderr until it is stopped."""

    def __init__(
        self,
        describe: DescribeProgress,
        *,
        show_progress: bool,
        notices: deque[str] | None = None,
    ) -> None:
        """Poll `describe` in a thread, and print `notices` once.

        Without `show_progress`, only print the notices, at the end.
        """
        self._describe = describe
        self._notices = deque[str]() if notices is None else notices
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
        self._print_notices(streams.info)

    def _print_notices(self, print_line: Callable[[str], object]) -> None:
        while self._notices:
            print_line(self._notices.popleft())

    def _update_line(self) -> None:
        """Rewrite one line of the terminal."""
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console(file=streams.stderr(), highlight=False, emoji=False)
        live = Live(
            console=console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,  # `engine_output` redirects what libraries print
            redirect_stderr=False,
        )
        with suppress(OSError), live:  # a terminal that is gone must not stop the work
            while not self._done.wait(_REFRESH_SECONDS):
                self._print_notices(
                    lambda text: console.print(printable(text), markup=False)
                )
                line, width = self._describe(), console.width - 1
                shown = [fit(one, width) for one in (line, *line.details)]
                text = "\n".join(map(printable, shown))
                live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def _print_lines(self) -> None:
        """Print a line when the phase changes, otherwise one every few seconds."""
        last_phase, last_text, next_print = "", "", 0.0
        while not self._done.wait(_REFRESH_SECONDS):
            self._print_notices(streams.info)
            line, now = self._describe(), time.monotonic()
            text = full_text(line)
            is_due = line.phase != last_phase or now >= next_print
            if text != last_text and is_due:
                streams.info(text)
                for detail in line.details:
                    streams.info(full_text(detail))
                last_phase, last_text = line.phase, text
                next_print = now + _PLAIN_LINE_SECONDS


def run_progress_line(progress: Progress) -> DescribeProgress:
    """Return what describes the progress of a run."""

    def describe() -> ProgressLine:
        if progress.waiting_reason:
            text = f"waiting for the {progress.waiting_for}: {progress.waiting_reason}"
            return ProgressLine("waiting", (Part(text),))
        engines = tuple(map(_detail, progress.engines))
        if progress.phase == "running":
            return _running_line(progress)._replace(details=engines)
        parts = _phase_parts(progress)
        details = engines if progress.phase == "loading" else ()
        return ProgressLine(progress.phase, parts, details=details)

    return describe


def _phase_parts(progress: Progress) -> tuple[Part, ...]:
    """Return a phase in which no requests run, with its details."""
    detail = ""
    if progress.phase == "checking" and progress.checked_requests:
        detail = count(progress.checked_requests, "request")
    if progress.phase == "loading":
        downloaded = progress.download and progress.download.downloaded_bytes()
        detail = progress.loading_step
        if downloaded:
            detail = f"downloading, {size(downloaded)} so far"
    text = _PHASES[progress.phase]
    return (Part(f"{text}: {detail}" if detail else text),)


def _running_line(progress: Progress) -> ProgressLine:
    counts, total = progress.total_counts(), progress.total
    done = sum(counts.done())
    share = done / total if total else 1.0
    left = progress.seconds_left()
    requests = f"{count(done)} / {count(total)}"
    remaining = time_left(left) if left is not None else ""
    parts = (
        Part(f"{int(share * 100)}%"),  # 100% only at the end
        Part(f"{requests} requests", requests, rank=1),
        Part(f"{count(counts.failed)} failed" if counts.failed else "", rank=2),
        _engine_part(progress),
        Part(_speed_text(progress), rank=3),
        Part(
            remaining and f"about {remaining} left", remaining and f"{remaining} left"
        ),
    )
    return ProgressLine("running", parts, share)


def _detail(engine: EngineProgress) -> ProgressLine:
    line = engine_line(engine)
    return line._replace(parts=(Part(f"  engine {engine.number}"), *line.parts))


def engine_line(engine: EngineProgress) -> ProgressLine:
    """Return what one of several engines does."""
    speed = short(engine.tokens_per_second)
    parts = (
        Part(engine.place, rank=2),
        Part(engine.state or f"{count(engine.running)} running"),
        Part("" if engine.state else f"{speed} tokens/s", rank=1),
    )
    return ProgressLine("", parts)


def time_left(seconds: float) -> str:
    """Return a duration in whole seconds: tenths would claim too much."""
    whole = max(1, round(seconds))
    return f"{whole}s" if whole < 10 else duration(whole)  # noqa: PLR2004


def _engine_part(progress: Progress) -> Part:
    """Return how many requests are computed and how many wait in the engine."""
    activity = progress.activity
    if activity is None or not activity.running + activity.waiting:
        return Part("")
    running = f"{count(activity.running)} running"
    waiting = f", {count(activity.waiting)} waiting" if activity.waiting else ""
    return Part(running + waiting, running, rank=4)


def _speed_text(progress: Progress) -> str:
    stalled, activity = progress.stalled_seconds(), progress.activity
    if stalled > _WARM_UP_SECONDS:
        is_new = not (activity and activity.steps)
        return "warming up" if is_new else f"no step for {duration(stalled)}"
    speed = progress.tokens_per_second()
    return f"{short(speed)} tokens/s" if speed else ""
