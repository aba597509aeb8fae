"""Rows of a Parquet file."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from typing_extensions import override

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.rows.row_reader import RowReader, SeekableBinary

if TYPE_CHECKING:
    import pyarrow as pa

_BUFFER_BYTES = 1024 * 1024
"""Size of a read of a column."""

_BATCH_BYTES = 2 * 1024 * 1024
_BATCH_ROWS = 8_192
"""Average size and largest number of rows of a batch."""

_READ_ROWS = 64
"""Most rows that are decoded at once. A text that many rows share is stored once, so
the size of a file, which may also be wrong, says nothing about that of its rows."""


class ParquetRows(RowReader):
    """Reads column chunks in pieces, so that a large row group is no problem."""

    def __init__(self, file: SeekableBinary, name: str) -> None:
        """Read the footer of `file`. Raises `InputFileError`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._name = name
        try:
            self._file = pq.ParquetFile(
                file, buffer_size=_BUFFER_BYTES, pre_buffer=False
            )
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None

    @property
    @override
    def schema(self) -> "pa.Schema":
        return self._file.schema_arrow

    @override
    def batches(self) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa

        rows = self._batch_rows()
        try:
            # Threads of Arrow would wait for the interpreter lock to read the file.
            few = self._file.iter_batches(min(rows, _READ_ROWS), use_threads=False)
            for group in _groups(few, rows):
                yield from _joined(group)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None

    def _batch_rows(self) -> int:
        """Return the number of rows that have the size of a batch on average."""
        metadata = self._file.metadata
        groups = map(metadata.row_group, range(metadata.num_row_groups))
        size = sum(group.total_byte_size for group in groups)
        row_bytes = max(1, size // max(1, metadata.num_rows))
        return int(min(_BATCH_ROWS, max(1, _BATCH_BYTES // row_bytes)))

    def _damaged(self, error: Exception) -> InputFileError:
        if "encrypt" in str(error).lower() or "decrypt" in str(error).lower():
            return InputFileError(
                f"`{self._name}` is an encrypted Parquet file",
                hint="write it without encryption",
            )
        return InputFileError(
            f"`{self._name}` is a damaged Parquet file: {error}",
            hint="write it again, or copy it again",
        )


def _groups(
    batches: Iterator["pa.RecordBatch"], rows: int
) -> Iterator[list["pa.RecordBatch"]]:
    """Yield batches that have up to `rows` rows and `_BATCH_BYTES` bytes together."""
    group: list[pa.RecordBatch] = []
    count = size = 0
    for batch in batches:
        count += batch.num_rows
        size += batch.nbytes
        if group and (count > rows or size > _BATCH_BYTES):
            yield group
            group, count, size = [], batch.num_rows, batch.nbytes
        group.append(batch)
    if group:
        yield group


def _joined(group: list["pa.RecordBatch"]) -> list["pa.RecordBatch"]:
    """Return the rows as one batch, or as they are if Arrow can't join their types."""
    import pyarrow as pa

    if len(group) == 1:
        return group
    try:
        batches = pa.Table.from_batches(group).combine_chunks().to_batches()
    except pa.ArrowNotImplementedError:  # such as dictionaries within lists
        return group
    return batches  # type: ignore[no-any-return]
