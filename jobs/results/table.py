"""The results of a batch as a table: a row per request, in typed columns.

The columns of the input's rows come first, then those of `rows/result_columns.py`.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from batchchat.jobs.errors import UsageError
from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.requests.line_reader import RawLine
from batchchat.jobs.results.arrow_columns import Columns
from batchchat.jobs.results.columns import arrow_fields
from batchchat.jobs.results.joined_columns import JoinedColumns, joined_columns
from batchchat.jobs.results.joined_rows import Row

GROUP_ROWS = 8_192
_GROUP_BYTES = 64 * 1024 * 1024
"""Size of a table; its last rows may exceed it."""

_DECODED_ROWS = 128
"""Rows that are decoded together: few enough to not trigger garbage collection."""

_DECODED_BYTES = 1024 * 1024
"""Size of the requests and results that are decoded together."""

_BATCH_ROWS = 1_024
"""Rows held as Python objects, which take five times the memory of Arrow's."""


class RowSource(Protocol):
    """Requests with their results, in the order of their lines."""

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows."""
        ...

    def raw(self, line: RawLine) -> bytes:
        """Return the bytes of a request, however long it is."""
        ...


class ResultTable:
    """The table of one batch.

    `schema` is Arrow's, with the batch's id as metadata. `input_names` are the names of
    the columns of the input's rows. With `only_completed` other rows are left out.
    """

    def __init__(
        self,
        ledger: Ledger,
        state: State,
        options: TableOptions | None = None,
        *,
        is_merged: bool = False,
    ) -> None:
        """Prepare the table with `options`, or else those of the batch.

        `is_merged` states that the rows are those of the batch that a retry repeats.

        Raises:
            UsageError: a column of `options` does not exist.
            NotFoundError: the input was deleted.

        """
        batch = state.batch
        self._options = batch.table if options is None else options
        self.only_completed = self._options.only_completed
        self._model = state.plan.model.name if state.plan and state.plan.model else None
        wanted = self._options.columns
        if wanted and not batch.has_rows:
            raise UsageError(
                f"`{batch.id}` has no columns `{', '.join(wanted)}`: its input is no"
                " table, but a file of requests",
                hint="leave out `--columns`",
            )
        self._joined = joined_columns(ledger, batch, wanted, is_merged=is_merged)
        own = arrow_fields(has_rows=batch.has_rows, response=self._options.response)
        self._own = _schema(own[len(self._joined.numbers) if self._joined else 0 :])
        joined = self._joined.fields if self._joined else []
        self.input_names = [field.name for field in joined]
        self.schema = _schema([*joined, *own], self._metadata(batch))

    def tables(self, rows: RowSource, group_rows: int | None = None) -> Iterator[Any]:
        """Yield the rows as Arrow tables of about `group_rows`, or `GROUP_ROWS`, rows.

        Raises:
            CorruptObjectError: the stored results are corrupt.

        """
        group_rows = group_rows or GROUP_ROWS
        group = self._new_group()
        for block, size in _blocks(self._wanted(rows)):
            group.add(block, [_request(rows, row) for row in block], size)
            if group.rows >= group_rows or group.size >= _GROUP_BYTES:
                yield group.table()
                group = self._new_group()
        if group.rows:
            yield group.table()

    def _new_group(self) -> "_Group":
        return _Group(self.schema, Columns(self._model, self._own), self._joined)

    def _wanted(self, rows: Iterable[Row]) -> Iterable[Row]:
        if self.only_completed:
            return (row for row in rows if row.completed)
        return rows

    def _metadata(self, batch: Batch) -> dict[str, str | bytes]:
        found: dict[str, str | bytes] = {"batchchat.batch_id": batch.id}
        if self._joined is not None:
            found |= self._joined.metadata
            if self._joined.renamed:
                found["batchchat.renamed_columns"] = encode(self._joined.renamed)
        return found


def _schema(fields: list[Any], metadata: dict[str, str | bytes] | None = None) -> Any:
    import pyarrow as pa

    return pa.schema(fields, metadata)


def _request(rows: RowSource, row: Row) -> bytes:
    """Return the line of a request; a line that was too long to be one is not read."""
    return rows.raw(row.line) if row.completed else row.line.raw or b""


def _blocks(rows: Iterable[Row]) -> Iterator[tuple[list[Row], int]]:
    """Yield rows to decode together, with the size of their requests and results."""
    block: list[Row] = []
    size = 0
    for row in rows:
        block.append(row)
        size += len(row.result) + row.line.length
        if len(block) == _DECODED_ROWS or size >= _DECODED_BYTES:
            yield block, size
            block, size = [], 0
    if block:
        yield block, size


class _Group:
    """A table in progress: a few rows as Python objects, the others in Arrow."""

    def __init__(
        self, schema: Any, columns: Columns, joined: JoinedColumns | None
    ) -> None:
        self.rows = 0
        self.size = 0
        self._schema = schema
        self._columns = columns
        self._joined = joined
        self._batches: list[Any] = []
        self._joined_tables: list[Any] = []

    def add(self, rows: list[Row], requests: list[bytes], size: int) -> None:
        """Add rows; `requests` are the input lines of the completed ones."""
        self.rows += len(rows)
        self.size += size
        self._columns.add(rows, requests)
        if self._joined is not None:
            table = self._joined.table([row.line.number for row in rows])
            self.size += table.nbytes
            self._joined_tables.append(table)
        if len(self._columns) >= _BATCH_ROWS:
            self._batches.append(self._columns.take())

    def table(self) -> Any:
        """Return the group as an Arrow table."""
        import pyarrow as pa

        if self._columns:
            self._batches.append(self._columns.take())
        own = pa.Table.from_batches(self._batches)
        if self._joined is None:
            return own.replace_schema_metadata(self._schema.metadata)
        joined = pa.concat_tables(self._joined_tables)
        columns = [*joined.columns, *own.columns]
        return pa.Table.from_arrays(columns, schema=self._schema)
