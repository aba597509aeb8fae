"""Recognize CSV and TSV, and split them into lines."""

import csv
import re
from collections.abc import Iterator
from io import StringIO

MAX_FIELD_CHARS = 16 * 1024 * 1024
csv.field_size_limit(MAX_FIELD_CHARS)

EXCEL_DELIMITER = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
"""A first line with which Excel names the delimiter."""

_DELIMITERS = ("\t", ",", ";", "|")
_SAMPLE_ROWS = 20


def csv_lines(text: Iterator[str]) -> Iterator[str]:
    """Yield lines that end with a line feed, a carriage return, or both."""
    rest = ""
    for piece in text:
        lines = StringIO(rest + piece, newline="").readlines()
        rest = lines.pop() if lines else ""
        yield from lines
        if len(rest) > MAX_FIELD_CHARS:
            raise csv.Error("field larger than field limit")
    if rest:
        yield rest


def delimiter_of(head: str, name: str, *, is_whole: bool) -> str | None:
    """Return the delimiter of a file that starts with `head`; None if it is no CSV.

    Only the extension of its `name` tells a file with one column from other text.
    """
    if found := EXCEL_DELIMITER.match(head):
        return found[1]
    is_named_csv = re.search(r"\.[ct]sv(\.|$)", name, re.IGNORECASE) is not None
    lengths = {one: _lengths(head, one, is_whole=is_whole) for one in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda delimiter: _fit(lengths[delimiter]))
    is_table = _fit(lengths[best]) > 0 and (is_named_csv or len(lengths[best]) > 1)
    if is_table:
        return best
    return "," if is_named_csv else None


def _lengths(head: str, delimiter: str, *, is_whole: bool) -> list[int]:
    """Return how many fields each of the first rows has."""
    reader = csv.reader(csv_lines(iter([head])), delimiter=delimiter)
    found: list[int] = []
    try:
        for fields in reader:
            found += [len(fields)] if fields else []
    except csv.Error:
        return found[:_SAMPLE_ROWS]
    return found[:_SAMPLE_ROWS] if is_whole else found[:-1][:_SAMPLE_ROWS]


def _fit(lengths: list[int]) -> float:
    """Return how many fields the rows have, 0 unless most rows have the same number."""
    if not lengths or lengths[0] == 1:
        return 0
    same = lengths.count(lengths[0])
    is_most = 2 * same > len(lengths)
    return lengths[0] * same / len(lengths) if is_most else 0
