"""Rows of a table: any format of a single file, read in bounded memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from batchchat.jobs.errors import InputFileError

if TYPE_CHECKING:
    import pyarrow as pa


class SeekableBinary(Protocol):
    """A binary file that can be read again from any position."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, b"" at the end."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a position in bytes, and return it."""
        ...

    def tell(self) -> int:
        """Return the position in bytes."""
        ...


class RowReader(Protocol):
    """The rows of a table, in order.

    Readers of one file share its position, so only one of them may read at a time.
    """

    @property
    def schema(self) -> "pa.Schema":
        """The names and types of the columns.

        Raises:
            InputFileError: the file can't be read as a table.

        """
        ...

    def batches(self) -> Iterator["pa.RecordBatch"]:
        """Yield all rows, from the first one, the same ones each time.

        Raises:
            InputFileError: a row can't be read; the error names it, from 1.

        """
        ...


def open_rows(file: SeekableBinary, name: str) -> RowReader:
    """Return a reader of the rows in `file`; `name` names it in errors.

    The content decides which format it is, not the name.

    Raises:
        InputFileError: the file has no rows, or has an unsupported format.

    """
    head = file.read(4)
    file.seek(0)
    if head == b"PAR1":
        from batchchat.jobs.rows.parquet_rows import ParquetRows

        return ParquetRows(file, name)
    if head.lstrip()[:1] == b"{":
        from batchchat.jobs.rows.json_rows import JsonRows

        return JsonRows(file, name)
    raise InputFileError(f"`{name}` has an unknown format", hint="use JSONL or Parquet")
