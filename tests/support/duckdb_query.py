"""DuckDB, in a process of its own.

At the end of a long test process DuckDB prints pages about functions that leaked,
because other modules still refer to it. A process that only queries ends silently.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any


def query(sql: str, file: Path) -> list[dict[str, Any]]:
    """Return the rows of a query whose one parameter is the path of `file`."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_query, sql, str(file)).result()


def _query(sql: str, file: str) -> list[dict[str, Any]]:
    import duckdb

    found = duckdb.connect().execute(sql, [file])
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
