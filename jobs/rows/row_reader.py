"""Rows of a table: any format of a single file, read in bounded memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class SeekableBinary(Protocol):
    """A buffered binary file that can be read again from any position."""

    def read(self, size: int = -1, /) -> bytes:
        """Return `size` bytes, or fewer at the end of the file."""
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
    from batchchat.jobs.rows.file_formats import reader_of  # imports pyarrow

    return reader_of(file, name)
