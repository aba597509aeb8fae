"""The Parquet file in which the rows of a batch are stored."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from batchchat.jobs.rows.row_reader import RowReader

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_BYTES = 16 * 1024 * 1024
"""Size of a row group in memory; its last batch may exceed it."""


def store_table(reader: RowReader, sink: BinaryIO) -> int:
    """Write all rows as one Parquet file; return their number. `sink` stays open.

    Raises:
        InputFileError: a row can't be read.

    """
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetWriter(sink, reader.schema, compression="zstd") as writer:
        for table in _groups(reader):
            writer.write_table(table, row_group_size=table.num_rows)
            rows += table.num_rows
    return rows


def _groups(reader: RowReader) -> Iterator["pa.Table"]:
    """Yield the rows in tables of bounded size."""
    import pyarrow as pa

    batches: list[Any] = []
    size = 0
    for batch in _pieces(reader):
        batches.append(batch)
        size += batch.nbytes
        if size >= _GROUP_BYTES:
            yield pa.Table.from_batches(batches)
            batches, size = [], 0
    if batches:
        yield pa.Table.from_batches(batches)


def _pieces(reader: RowReader) -> Iterator["pa.RecordBatch"]:
    """Yield the rows in batches that are not larger than a group on average."""
    for batch in reader.batches():
        pieces = 1 + batch.nbytes // _GROUP_BYTES
        rows = 1 + batch.num_rows // pieces
        for at in range(0, batch.num_rows, rows):
            yield batch.slice(at, rows)
