"""Writes the results of a batch as a table in JSON lines, with an object per row."""

from collections.abc import Iterator
from io import RawIOBase
from typing import BinaryIO

from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.results.finished_rows import FinishedRows
from batchchat.jobs.results.joined_rows import JoinedRows
from batchchat.jobs.results.json_values import json_lines
from batchchat.jobs.results.merged_rows import MergedRows
from batchchat.jobs.results.partial_results import PartialResults
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


class FinishedTable:
    """The finished results of a batch, each once, over several calls of `new`."""

    def __init__(self, ledger: Ledger, options: TableOptions | None) -> None:
        """Make the table with `options`, or else those of the batch."""
        self._ledger = ledger
        self._options = options
        self._results = PartialResults(ledger)
        self._table: ResultTable | None = None

    def new(self, state: State) -> Iterator[tuple[bool, bytes]]:
        """Yield the rows that no earlier call has yielded; see `table_lines`.

        Raises:
            UsageError: a column of the options does not exist.
            NotFoundError: the input was deleted.

        """
        if state.plan is None:
            return
        rows: RowSource
        if self._table is None and state.final is not None:
            rows = JoinedRows(self._ledger, state)
        else:
            rows = FinishedRows(self._ledger, state, self._results.new(state))
        if self._table is None:
            self._table = ResultTable(self._ledger, state, self._options)
        yield from table_lines(self._table, rows)


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
