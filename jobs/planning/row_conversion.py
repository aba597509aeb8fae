"""Makes request lines of a batch's rows, and stores them once."""

from collections.abc import Callable, Iterable, Iterator
from sys import maxsize

from batchchat.jobs.errors import NotFoundError, ObjectMissingError, UsageError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.rows.result_columns import check_columns, renamed_columns
from batchchat.jobs.rows.row_filter import RowFilter
from batchchat.jobs.rows.row_options import RowOptions
from batchchat.jobs.rows.row_reader import RowReader, open_rows
from batchchat.jobs.rows.row_requests import RowRequests
from batchchat.jobs.storage.object_file import open_object

INVALID_ROWS = "invalid_rows"
"""The code of a problem with the table or with a template."""


class _StoredMeanwhileError(Exception):
    """Another planner has stored the request lines."""


def open_input_rows(ledger: Ledger, input_file_id: str, rows: RowOptions) -> RowReader:
    """Return a reader of the rows of an input file that become requests, in order.

    Raises:
        InputFileError: the file holds no table.
        UsageError: the filter is invalid.
        ObjectMissingError: the file was deleted.

    """
    file = open_object(ledger.storage, ledger.keys.content(input_file_id))
    try:
        name = ledger.file(input_file_id).filename
    except NotFoundError:  # its record was deleted, but not yet its content
        name = input_file_id
    reader = open_rows(file, name)
    return RowFilter(rows.where, rows.limit, rows.sample).apply(reader)


def store_request_lines(
    ledger: Ledger,
    batch: Batch,
    rows: RowOptions,
    paced: Callable[[Iterable[bytes]], Iterable[bytes]],
    most: int = maxsize,
) -> Problem | None:
    """Convert the rows of a batch unless that was done; return a problem of them all.

    They may make `most` requests: some formats do not tell their number before.

    The object appears whole. If the process is killed before, the next planner makes it
    again. One that another planner has stored meanwhile stays: its plan may exist, and
    another version may make other bytes.

    Raises:
        ObjectMissingError: the input was deleted.
        StorageError: the storage failed.

    """
    key = request_lines_key(ledger.keys, batch)
    if _exists(ledger, key):
        return None
    try:
        lines = _at_most(most, _lines(ledger, batch, rows))
        with ledger.storage.writer(key) as sink:
            for block in paced(lines):
                sink.write(block)
            _check_missing(ledger, key)
    except _StoredMeanwhileError:
        return None
    except UsageError as error:
        text = f"{error.message}: {error.hint}" if error.hint else error.message
        return Problem(INVALID_ROWS, None, text, "rows")
    return None


def _lines(ledger: Ledger, batch: Batch, rows: RowOptions) -> Iterator[bytes]:
    reader = open_input_rows(ledger, batch.input_file_id, rows)
    check_columns(batch.table.columns, reader.schema.names)
    return RowRequests(rows, reader.schema).lines(reader)


def _at_most(most: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield blocks of lines. Raises `UsageError` if there are more than `most`."""
    count = 0
    for block in blocks:
        count += block.count(b"\n")
        if count > most:
            raise UsageError(
                f"the rows make more than {most:,} requests",
                hint="use a batch for each part of them",
            )
        yield block


def renamed_input_columns(
    ledger: Ledger, batch: Batch, rows: RowOptions
) -> dict[str, str]:
    """Return the columns of a batch's rows that have another name in its results.

    There are none if the input was deleted after its request lines were stored.
    """
    try:
        reader = open_input_rows(ledger, batch.input_file_id, rows)
    except ObjectMissingError:
        return {}
    return renamed_columns(reader.schema.names)


def _check_missing(ledger: Ledger, key: str) -> None:
    if _exists(ledger, key):
        raise _StoredMeanwhileError


def _exists(ledger: Ledger, key: str) -> bool:
    try:
        ledger.storage.size(key)
    except ObjectMissingError:
        return False
    return True
