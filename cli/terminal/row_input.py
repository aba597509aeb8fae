"""Read the rows of all sources that a user names into one input file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from batchchat.cli.terminal.input_file import InputFile
from batchchat.cli.terminal.paths import valid_utf8
from batchchat.cli.terminal.row_sources import find_tables
from batchchat.jobs.errors import InputFileError
from batchchat.jobs.requests.decompression import plain_name
from batchchat.jobs.rows.joined_tables import JoinedTables, Table
from batchchat.jobs.rows.row_filter import RowFilter
from batchchat.jobs.rows.row_reader import RowReader
from batchchat.jobs.rows.stored_table import store_table


@contextmanager
def open_row_input(sources: Sequence[str], rows: RowFilter) -> Iterator[InputFile]:
    """Yield one Parquet file with the selected rows of all sources.

    It is a temporary file, named like the first source.

    Raises:
        InputFileError: a source can't be read as a table, the tables have different
            types, or no row is selected.
        UsageError: the filter is invalid.
        StorageError: a bucket can't be reached or read.

    """
    tables = find_tables(sources)
    with TemporaryFile() as copy:
        sink = cast("BinaryIO", copy)
        if not store_table(rows.apply(_reader(tables)), sink):
            raise _no_rows(sources, rows)
        size = copy.tell()
        copy.seek(0)
        yield InputFile(_stored_name(tables[0].name), sink, size, has_rows=True)


def open_row_reader(sources: Sequence[str]) -> RowReader:
    """Return a reader of the rows of all sources; see `open_row_input`."""
    return _reader(find_tables(sources))


def _reader(tables: list[Table]) -> RowReader:
    return tables[0].open() if len(tables) == 1 else JoinedTables(tables)


def _stored_name(source: str) -> str:
    """Return the name of the Parquet file with the rows of a source."""
    name = plain_name("stdin" if source == "-" else PurePath(source).name)
    return valid_utf8(PurePath(name).stem or "rows") + ".parquet"


def _no_rows(sources: Sequence[str], rows: RowFilter) -> InputFileError:
    named = ", ".join(f"`{source}`" for source in sources)
    if rows.where is None:
        return InputFileError(f"{named} has no rows", hint="choose another file")
    return InputFileError(
        f"no row of {named} matches the condition `{rows.where}`",
        hint="see the columns and their values with `--limit 3 --show 3`",
    )
