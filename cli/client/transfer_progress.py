"""Show the progress of an upload or a download."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from batchchat.cli.terminal.format import duration, size
from batchchat.cli.terminal.progress import BarRenderer, ProgressDisplay, ProgressLine

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

    def _describe(self, bar: BarRenderer) -> ProgressLine:
        seconds = time.monotonic() - self._began
        speed = self._done / seconds if seconds > _MIN_SPEED_SECONDS else 0.0
        parts = [self._verb, *self._amount(bar)]
        left = (self._total or self._done) - self._done
        if speed:
            parts.append(f"{size(round(speed))}/s")
        if speed and left > 0:
            parts.append(f"about {duration(left / speed)} left")
        return ProgressLine(self._verb, "  ".join(parts))

    def _amount(self, bar: BarRenderer) -> list[str]:
        if not self._total:
            return [size(self._done)]
        share = min(1.0, self._done / self._total)
        return [
            f"{bar(share)}{share:.0%}",
            f"{size(self._done)} of {size(self._total)}",
        ]
