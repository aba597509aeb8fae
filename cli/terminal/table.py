"""Aligned columns of text that fit a terminal."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from batchchat.jobs.printable import printable

_GAP = "  "


class Column(NamedTuple):
    """A column: its heading and alignment, and how a narrow terminal shortens it.

    Of the columns that do not fit, those with the highest `rank` are left out first;
    those of rank 0 stay. A column with a `min_width` is cut down to it before that.
    """

    heading: str
    is_number: bool = False
    rank: int = 0
    min_width: int | None = None


Rows = Sequence[Sequence[str]]


def table(columns: Sequence[Column], rows: Rows, width: int | None = None) -> list[str]:
    """Return the heading and the rows as lines of at most `width` cells, if possible.

    Control characters in the rows are escaped. With `width` None nothing is cut.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    columns, cells = _without_ranks(columns, cells, width)
    widths = _natural_widths(columns, cells)
    if width is not None:
        widths = _shrunk(columns, widths, width)
    lines = [[column.heading for column in columns], *cells]
    return [_line(columns, line, widths) for line in lines]


def fits(columns: Sequence[Column], rows: Rows, width: int | None) -> bool:
    """Return whether `table` keeps all columns."""
    return width is None or _least_width(columns, rows) <= width


def _without_ranks(
    columns: Sequence[Column], rows: Rows, width: int | None
) -> tuple[list[Column], list[list[str]]]:
    """Leave out columns, highest rank first, until the others fit."""
    rank = max(column.rank for column in columns)
    while True:
        kept = [at for at, column in enumerate(columns) if column.rank <= rank]
        some = [columns[at] for at in kept]
        cells = [[row[at] for at in kept] for row in rows]
        if rank == 0 or fits(some, cells, width):
            return some, cells
        rank -= 1


def _natural_widths(columns: Sequence[Column], rows: Rows) -> list[int]:
    return [
        max([cell_len(column.heading), *(cell_len(row[at]) for row in rows)])
        for at, column in enumerate(columns)
    ]


def _least_width(columns: Sequence[Column], rows: Rows) -> int:
    natural = _natural_widths(columns, rows)
    least = [
        natural_width
        if column.min_width is None
        else min(natural_width, column.min_width)
        for column, natural_width in zip(columns, natural, strict=True)
    ]
    return _total(least)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _shrunk(columns: Sequence[Column], widths: list[int], width: int) -> list[int]:
    """Take what is too much from the columns that may be cut."""
    excess = _total(widths) - width
    shrunk = []
    for column, natural in zip(columns, widths, strict=True):
        spare = 0 if column.min_width is None else max(0, natural - column.min_width)
        taken = max(0, min(excess, spare))
        excess -= taken
        shrunk.append(natural - taken)
    return shrunk


def _line(columns: Sequence[Column], cells: Sequence[str], widths: list[int]) -> str:
    aligned = map(_aligned, columns, cells, widths)
    return _GAP.join(aligned).rstrip()


def _aligned(column: Column, cell: str, width: int) -> str:
    if cell_len(cell) > width:
        return set_cell_size(cell, width - 1) + "…"
    padding = " " * (width - cell_len(cell))
    return padding + cell if column.is_number else cell + padding
