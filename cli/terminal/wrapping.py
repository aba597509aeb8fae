"""Break lines at the width of a terminal, but never within a command."""

import re
from collections.abc import Iterator

from rich.cells import cell_len

_WORD = re.compile(r"(?:`[^`]*`|[^ `]|`)+")
"""A word; a text in backticks is one, with its spaces, so that it can be copied."""


def line_breaks(text: str, width: int, indent: int) -> dict[int, str]:
    """Return what to replace spaces with, by position, to break the line.

    No line is then longer than `width` cells, unless it is a single word. `indent` is
    the number of spaces at the beginning of all lines but the first.
    """
    breaks: dict[int, str] = {}
    line_start = column = last_end = 0
    for start, end in _words(text):
        column_after = column + cell_len(text[line_start:end])
        if column_after > width and last_end > line_start:
            breaks |= dict.fromkeys(range(last_end, start), "")
            breaks[last_end] = "\n" + " " * indent
            line_start, column = start, indent
        last_end = end
    return breaks


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Yield the beginning and the end of each word."""
    for found in _WORD.finditer(text):
        yield found.span()
