"""Lists of column names in one text, as options of a command and of a query."""

import csv
import io
from collections.abc import Iterable

NONE = "none"
"""Stands for no columns."""


def split_names(text: str) -> tuple[str, ...]:
    """Return the names of `a,b,c`; a name with a comma is quoted, as in CSV."""
    if text.strip() in {"", NONE}:
        return ()
    [names] = csv.reader([text], skipinitialspace=True)
    return tuple(names)


def join_names(names: Iterable[str]) -> str:
    """Return the text that `split_names` reads."""
    names = [*names]
    if not names:
        return NONE
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="").writerow(names)
    return text.getvalue()
