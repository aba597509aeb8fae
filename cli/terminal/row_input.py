"""Read the rows of all sources that a user names into one input file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from batchchat.cli.terminal.input_file import InputFile, open_input
from batchchat.jobs.rows.row_filter import RowFilter
from batchchat.jobs.rows.row_reader import open_rows
from batchchat.jobs.rows.stored_table import store_table


@contextmanager
def open_row_input(sources: Sequence[str], rows: RowFilter) -> Iterator[InputFile]:
    """Yield one Parquet file with the selected rows of all sources.

    It is a temporary file, named like the first source.

    Raises:
        InputFileError: a source can't be read as a table, or the tables don't fit.
        UsageError: the filter is invalid.
        StorageError: a bucket can't be reached or read.

    """
    with TemporaryFile() as copy, open_input(sources[0]) as source:
        reader = rows.apply(open_rows(source.stream, source.source))
        store_table(reader, cast("BinaryIO", copy))
        size = copy.tell()
        copy.seek(0)
        name = Path(source.name).with_suffix(".parquet").name
        yield InputFile(name, cast("BinaryIO", copy), size)
