"""Tables of results, as Parquet or JSON lines, and the parameters that choose them."""

import tempfile
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Literal

from fastapi import Query
from starlette.responses import Response, StreamingResponse

from batchchat.api.http.filenames import content_disposition
from batchchat.api.routes.deleted_files import require_file
from batchchat.jobs.ledger.checkpoint import FinishedLine
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.requests.line_reader import RawLine
from batchchat.jobs.results.finished_rows import FinishedRows
from batchchat.jobs.results.joined_rows import JoinedRows, Row
from batchchat.jobs.results.json_table import table_lines
from batchchat.jobs.results.parquet import write_parquet
from batchchat.jobs.results.parquet_file import parquet_file_id
from batchchat.jobs.results.partial_results import PartialResults
from batchchat.jobs.results.result_stream import finished_lines
from batchchat.jobs.results.table import ResultTable, RowSource
from batchchat.jobs.rows.column_names import split_names
from batchchat.jobs.storage.protocol import CHUNK_BYTES

PARQUET = "application/vnd.apache.parquet"

Columns = Annotated[
    str | None,
    Query(
        description="Columns of the input's rows in a table, such as `id,question`, or"
        " `none`. Without this, `response` and `only` a table is as the batch chose."
    ),
]
ResponseColumn = Annotated[
    bool | None,
    Query(alias="response", description="Whether a table has the column `response`."),
]
Only = Annotated[
    Literal["all", "completed"] | None,
    Query(description="`completed` leaves other requests out of a table."),
]


def table_options(
    columns: str | None, *, response: bool | None, only: str | None
) -> TableOptions | None:
    """Return the options of a query, None if there are none."""
    if columns is None and response is None and only is None:
        return None
    return TableOptions(
        columns=None if columns is None else split_names(columns),
        response=response is not False,
        only_completed=only == "completed",
    )


def parquet(ledger: Ledger, state: State, options: TableOptions | None) -> Response:
    """Return the results of an ended batch as Parquet.

    This is the batch's Parquet file if it has one. Otherwise a temporary file is made.
    """
    name = f"{state.batch.id}.parquet"
    headers = {"content-disposition": content_disposition(name)}
    is_stored = options is None or options == state.batch.table
    table = parquet_file_id(ledger, state.final) if state.final and is_stored else None
    if state.final and table:
        headers["content-length"] = f"{state.final.parquet_bytes}"
        stored = ledger.storage.stream(ledger.keys.content(table))
        return StreamingResponse(stored, 200, headers, media_type=PARQUET)
    _require_input(ledger, state, options)
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it is sent
    try:
        write_parquet(ledger, state, file, options)
    except BaseException:
        file.close()
        raise
    size = file.tell()
    file.seek(0)

    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    headers["content-length"] = f"{size}"
    return StreamingResponse(chunks(), 200, headers, media_type=PARQUET)


def lines(
    ledger: Ledger,
    state: State,
    options: TableOptions | None,
    *,
    after: int,
    partial: bool,
) -> Iterator[bytes]:
    """Return the lines of a table past the first `after`.

    `partial` includes the results of a running batch behind an unfinished request.

    Raises:
        UsageError: a column of `options` does not exist.
        NotFoundError: the input was deleted.

    """
    _require_input(ledger, state, options)
    table = ResultTable(ledger, state, options)
    source: RowSource
    if state.final is not None:
        source = JoinedRows(ledger, state)
    else:
        results: Iterator[FinishedLine] = finished_lines(ledger, state)
        if partial:
            results = PartialResults(ledger).new(state)
        source = FinishedRows(ledger, state, results)
    later = _Later(source, after, only_completed=table.only_completed)
    return (line for _, line in table_lines(table, later))


def _require_input(ledger: Ledger, state: State, options: TableOptions | None) -> None:
    """Raise `ApiError` (404) if the input was deleted and the table needs it."""
    batch = state.batch
    columns = (options or batch.table).columns
    if batch.rows is None or columns != ():
        require_file(ledger, batch.input_file_id, "input")


class _Later:
    """The rows of a table past its first ones."""

    def __init__(self, rows: RowSource, after: int, *, only_completed: bool) -> None:
        self._rows = rows
        self._after = after
        self._only_completed = only_completed

    def __iter__(self) -> Iterator[Row]:
        has_all = not self._only_completed
        wanted = (row for row in self._rows if has_all or row.completed)
        return islice(wanted, self._after, None)

    def raw(self, line: RawLine) -> bytes:
        return self._rows.raw(line)
