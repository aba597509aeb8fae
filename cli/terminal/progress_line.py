"""One line of progress, and how it is shortened to fit a terminal."""

from collections.abc import Iterator
from typing import NamedTuple

_MIN_BAR_WIDTH = 8
_MAX_BAR_WIDTH = 24
_GAP = "  "


class Part(NamedTuple):
    """A piece of a line: its text, and a shorter form for narrow terminals.

    Of the parts that do not fit, those with the highest `rank` are left out first;
    those of rank 0 stay.
    """

    text: str
    short: str = ""
    rank: int = 0


class ProgressLine(NamedTuple):
    """What to show; a new `phase` is printed without delay.

    If `share` (0 to 1) is given, a bar is drawn before the parts.
    """

    phase: str
    parts: tuple[Part, ...]
    share: float | None = None
    details: tuple["ProgressLine", ...] = ()
    """Lines that are shown below this one."""


def full_text(line: ProgressLine) -> str:
    """Return the line without a bar."""
    return _GAP.join(part.text for part in line.parts if part.text)


def fit(line: ProgressLine, width: int) -> str:
    """Return the most complete form of the line with at most `width` characters.

    First the bar shrinks and vanishes, then texts are shortened, then parts left out.
    """
    text = ""
    for text in _forms(line):
        if len(text) <= width:
            break
    room = width - len(text) - len(_GAP)
    if line.share is None or room < _MIN_BAR_WIDTH:
        return text
    return _draw_bar(line.share, min(room, _MAX_BAR_WIDTH)) + _GAP + text


def _forms(line: ProgressLine) -> Iterator[str]:
    """Yield the line in shorter and shorter forms."""
    yield full_text(line)
    parts = [part for part in line.parts if part.text]
    for rank in range(max((part.rank for part in parts), default=0), -1, -1):
        yield _GAP.join(part.short or part.text for part in parts if part.rank <= rank)


def _draw_bar(share: float, width: int) -> str:
    filled = round(share * width)
    return "━" * filled + "╌" * (width - filled)
