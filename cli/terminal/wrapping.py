"""Break lines at the width of a terminal, but never within a command."""

import re
from collections.abc import Iterator

from rich.cells import cell_len

_WORD = re.compile(r"(?:`[^`]*`|[^ `]|`)+")
"""A word; a text in backticks is one, with its spaces, so that it can be copied."""


def line_breaks(text: str, width: int, indent: int) -> set[int]:
    """Return the positions of the spaces to replace by a line break.

    No line is then longer than `width` cells, unless it is a single word. `indent` is
    the number of spaces at the beginning of all lines but the first.
    """
    breaks = set[int]()
    line_start = column = 0
    for start, end in _words(text):
        column_after = column + cell_len(text[line_start:end])
        if column_after > width and start - 1 > line_start:
            breaks.add(start - 1)
            line_start, column = start, indent
    return breaks


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Yield the beginning and the end of each word."""
    for found in _WORD.finditer(text):
        yield found.span()
