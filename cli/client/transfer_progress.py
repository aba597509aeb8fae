"""Says how far an upload or a download is."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from batchchat.cli.terminal.format import duration, size
from batchchat.cli.terminal.progress import Bar, Display, Told

_SOON = 1.0
"""Seconds after which the speed is known well enough."""


class Transfer:
    """Counts the bytes that pass; `total` is None where nobody knows."""

    def __init__(self, what: str, total: int | None = None) -> None:
        """Begin; `what` is such as `uploading`."""
        self._what = what
        self.expect(total)

    def expect(self, total: int | None) -> None:
        """Count from nothing on, up to `total` bytes."""
        self._done, self._total = 0, total
        self._began = time.monotonic()

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the same chunks."""
        for chunk in chunks:
            yield chunk
            self._done += len(chunk)

    @contextmanager
    def display(self, *, shown: bool) -> Iterator[None]:
        """Show it meanwhile."""
        display = Display(self._tell, shown=shown)
        try:
            yield
        finally:
            display.stop()

    def _tell(self, bar: Bar) -> Told:
        seconds = time.monotonic() - self._began
        speed = self._done / seconds if seconds > _SOON else 0.0
        parts = [self._what, *self._amount(bar)]
        left = (self._total or self._done) - self._done
        if speed:
            parts.append(f"{size(round(speed))}/s")
        if speed and left > 0:
            parts.append(f"about {duration(left / speed)} left")
        return Told(self._what, "  ".join(parts))

    def _amount(self, bar: Bar) -> list[str]:
        if not self._total:
            return [size(self._done)]
        share = min(1.0, self._done / self._total)
        return [
            f"{bar(share)}{share:.0%}",
            f"{size(self._done)} of {size(self._total)}",
        ]
