"""Writes the results of a batch as Parquet."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import RawIOBase
from typing import Any, BinaryIO

from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.results.joined_rows import JoinedRows
from batchchat.jobs.results.merged_rows import MergedRows
from batchchat.jobs.results.table import GROUP_ROWS, ResultTable

_WRITTEN_BYTES = 1024 * 1024
"""Buffer size of writes to the file."""

_REPEATED = [
    "status",
    "model",
    "finish_reason",
    "system_fingerprint",
    "error_code",
    "messages.list.element.role",
    "tools",
    "choices.list.element.finish_reason",
]
"""Columns with few distinct values, which are dictionary-encoded."""


def write_parquet(
    ledger: Ledger,
    state: State,
    sink: BinaryIO | RawIOBase,
    options: TableOptions | None = None,
    merged: MergedRows | None = None,
) -> int:
    """Write a batch that has ended, or the `merged` rows; return the number of rows.

    `options` replace those of the batch. Holds two row groups in memory: one is
    compressed while the next is read. `sink` is not closed.

    Raises:
        ConflictError: the batch has not ended.
        UsageError: a column of `options` does not exist.
        NotFoundError: the input was deleted.
        CorruptObjectError: the stored results are corrupt.

    """
    import pyarrow.parquet as pq

    rows = merged or JoinedRows(ledger, state)
    table = ResultTable(ledger, state, options, is_merged=merged is not None)
    written = 0
    with (
        _stream(sink) as stream,
        pq.ParquetWriter(
            stream,
            table.schema,
            compression="zstd",
            use_dictionary=[*table.input_names, *_REPEATED],
        ) as writer,
        ThreadPoolExecutor(1) as beside,
    ):
        writing: Future[None] | None = None
        for group in table.tables(rows):
            if writing is not None:
                writing.result()
            writing = beside.submit(writer.write_table, group, GROUP_ROWS)
            written += group.num_rows
        if writing is not None:
            writing.result()
    return written


@contextmanager
def _stream(sink: BinaryIO | RawIOBase) -> Iterator[Any]:
    """Yield a buffered Arrow stream that writes to `sink` and does not close it.

    Each write of Arrow's thread needs the interpreter lock, so there should be few.
    """
    import pyarrow as pa

    kept = _KeptOpen(sink)
    stream = pa.output_stream(kept, buffer_size=_WRITTEN_BYTES)
    try:
        yield stream
        stream.flush()
    finally:
        kept.has_ended = True


class _KeptOpen(RawIOBase):
    """A sink that is not closed, and ignores writes after the end.

    Arrow flushes and closes its stream when the stream is garbage-collected.
    """

    def __init__(self, sink: BinaryIO | RawIOBase) -> None:
        self.has_ended = False
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self.has_ended:
            self._sink.write(data)
        return len(data)
