"""Writes the results of a batch as a table in JSON lines, with an object per row."""

from collections.abc import Iterator
from io import RawIOBase
from typing import BinaryIO

from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.results.joined_rows import JoinedRows
from batchchat.jobs.results.json_values import json_lines
from batchchat.jobs.results.merged_rows import MergedRows
from batchchat.jobs.results.table import ResultTable, RowSource

_TABLE_ROWS = 512
"""Rows that are converted together."""


def table_lines(table: ResultTable, rows: RowSource) -> Iterator[tuple[bool, bytes]]:
    """Yield each row as JSON with its line feed, and whether it completed.

    Raises:
        CorruptObjectError: the stored results are corrupt.

    """
    for group in table.tables(rows, _TABLE_ROWS):
        statuses = group.column("status").to_pylist()
        for status, line in zip(statuses, json_lines(group), strict=True):
            yield status == "completed", line


def write_json_table(
    ledger: Ledger,
    state: State,
    sink: BinaryIO | RawIOBase,
    options: TableOptions | None = None,
    merged: MergedRows | None = None,
) -> None:
    """Write a batch that has ended, or the `merged` rows; see `write_parquet`."""
    rows = merged or JoinedRows(ledger, state)
    table = ResultTable(ledger, state, options, is_merged=merged is not None)
    sink.writelines(line for _, line in table_lines(table, rows))
