"""Select some of the rows of a table: by a condition, the first ones, a sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from batchchat.jobs.rows.row_reader import RowReader

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class RowFilter:
    """Which rows to read: those that `where` selects, a sample of them, the first ones.

    The rows keep their order, and the same input always gives the same sample.
    """

    where: str | None = None
    limit: int | None = None
    sample: int | None = None

    def apply(self, reader: RowReader) -> RowReader:
        """Return a reader of the selected rows. Raises `UsageError`."""
        if self.limit is not None:
            reader = _FirstRows(reader, self.limit)
        return reader


class _FirstRows(RowReader):
    def __init__(self, reader: RowReader, limit: int) -> None:
        self._reader = reader
        self._limit = limit

    @property
    @override
    def schema(self) -> "pa.Schema":
        return self._reader.schema

    @override
    def batches(self) -> Iterator["pa.RecordBatch"]:
        left = self._limit
        for batch in self._reader.batches():
            if left <= 0:
                return
            yield batch.slice(0, left)
            left -= batch.num_rows
