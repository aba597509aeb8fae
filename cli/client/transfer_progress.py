"""Show the progress of an upload or a download."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from batchchat.cli.terminal.format import duration, size
from batchchat.cli.terminal.progress import ProgressDisplay
from batchchat.cli.terminal.progress_line import Part, ProgressLine

_MIN_SPEED_SECONDS = 1.0
"""No speed is shown before this, as it would be too inaccurate."""


class Transfer:
    """Counts transferred bytes; `total` is None if the size is unknown."""

    def __init__(self, verb: str, total: int | None = None) -> None:
        """Start counting; `verb` is `uploading` or `downloading`."""
        self._verb = verb
        self.start(total)

    def start(self, total: int | None) -> None:
        """Start over, with `total` bytes to transfer."""
        self._done, self._total = 0, total
        self._began = time.monotonic()

    def add(self, byte_count: int) -> None:
        """Count transferred bytes."""
        self._done += byte_count

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the same chunks, and count each one after it is processed."""
        for chunk in chunks:
            yield chunk
            self.add(len(chunk))

    @contextmanager
    def display(self, *, show_progress: bool) -> Iterator[None]:
        """Show the progress while the context is open."""
        display = ProgressDisplay(self._describe, show_progress=show_progress)
        try:
            yield
        finally:
            display.stop()

    def _describe(self) -> ProgressLine:
        seconds = time.monotonic() - self._began
        speed = self._done / seconds if seconds > _MIN_SPEED_SECONDS else 0.0
        left = (self._total or self._done) - self._done
        time_left = duration(left / speed) if speed and left > 0 else ""
        share = min(1.0, self._done / self._total) if self._total else None
        parts = (
            Part(self._verb, rank=3),
            Part("" if share is None else f"{share:.0%}"),
            self._amount(),
            Part(f"{size(round(speed))}/s" if speed else "", rank=2),
            Part(time_left and f"about {time_left} left"),
        )
        return ProgressLine(self._verb, parts, share)

    def _amount(self) -> Part:
        done = size(self._done)
        if not self._total:
            return Part(done)
        return Part(f"{done} of {size(self._total)}", done, rank=1)
