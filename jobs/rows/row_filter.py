"""Select some of the rows of a table: by a condition, the first ones, a sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from batchchat.jobs.errors import UsageError
from batchchat.jobs.rows.condition import condition
from batchchat.jobs.rows.row_reader import RowReader
from batchchat.jobs.rows.row_sample import SampledRows

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
        for name, value in (("limit", self.limit), ("sample", self.sample)):
            if value is not None and value < 1:
                hint = "use 1 or more, or leave it out"
                raise UsageError(f"`{name}` is {value}", hint=hint)
        if self.where is not None:
            reader = _MatchingRows(reader, self.where)
        if self.sample is not None:
            reader = SampledRows(reader, self.sample)
        if self.limit is not None:
            reader = _FirstRows(reader, self.limit)
        return reader


class _MatchingRows(RowReader):
    def __init__(self, reader: RowReader, where: str) -> None:
        self._reader = reader
        self._condition = condition(where, reader.schema)

    @property
    @override
    def schema(self) -> "pa.Schema":
        return self._reader.schema

    @override
    def batches(self) -> Iterator["pa.RecordBatch"]:
        for batch in self._reader.batches():
            yield batch.filter(self._condition)


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
            yield batch.slice(0, left)
            left -= batch.num_rows
            if left <= 0:
                return
