"""The results of a batch as Parquet: one row a request, typed columns.

`status` is `completed` or `failed`; a request that never ran has failed with the
code `batch_cancelled` or `batch_expired`. `messages` is the conversation with its
first answer and with its slots filled, as fine-tuning takes it; it is null where
there was no answer, since that is no example. A turn that only calls tools has no
content there. `estimated_cost` is `decimal128(38, 18)`: exact for prices of
up to 12 decimals a million tokens (finer ones are rounded), with room for sums.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import RawIOBase
from typing import Any, BinaryIO

from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.results.arrow_columns import Columns
from batchchat.jobs.results.joined_rows import JoinedRows, Row

_GROUP_ROWS = 8_192
_GROUP_BYTES = 64 * 1024 * 1024
"""Of requests and results in a row group, but for the last that are decoded."""

_DECODED_ROWS = 128
"""Rows that are decoded together: too few for Python's collector to look at."""

_DECODED_BYTES = 1024 * 1024
"""Of requests and results that are decoded together, unless one is larger."""

_BATCH_ROWS = 1_024
"""Rows whose values are kept as Python's, which take five times the memory."""

_WRITTEN_BYTES = 1024 * 1024
"""Of the file that are written at once."""

_SCALE = 18
_REPEATED = [
    "status",
    "model",
    "finish_reason",
    "system_fingerprint",
    "error_code",
    "messages.list.element.role",
]
"""Columns of few values, which are stored as a dictionary."""


def write_parquet(ledger: Ledger, state: State, sink: BinaryIO | RawIOBase) -> int:
    """Write a batch that has ended; return the number of rows.

    Holds two row groups: one is compressed while the next is read. `sink` is left
    open.

    Raises:
        ConflictError: the batch has not ended.
        CorruptObjectError: the results are not what was written.

    """
    import pyarrow.parquet as pq

    schema = _schema(state.batch.id)
    model = state.plan.model.name if state.plan and state.plan.model else None
    written = 0
    with (
        _stream(sink) as stream,
        pq.ParquetWriter(
            stream, schema, compression="zstd", use_dictionary=_REPEATED
        ) as writer,
        ThreadPoolExecutor(1) as beside,
    ):
        writing: Future[None] | None = None
        for group in _groups(JoinedRows(ledger, state), schema, model):
            table = group.table()
            if writing is not None:
                writing.result()
            writing = beside.submit(writer.write_table, table, _GROUP_ROWS)
            written += group.rows
        if writing is not None:
            writing.result()
    return written


@contextmanager
def _stream(sink: BinaryIO | RawIOBase) -> Iterator[Any]:
    """Yield a stream of Arrow's that seldom writes to `sink`, and leaves it open.

    For each write Arrow's thread waits for the interpreter, and whoever has it stops.
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
    """A sink that stays open, and takes nothing more once it has ended.

    A stream of Arrow's writes what it holds, and closes, when it is thrown away.
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


def _schema(batch_id: str) -> Any:
    """Return the columns, which are the same whatever became of the batch."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    columns = {
        "custom_id": text,
        "line": number,
        "status": text,
        "model": text,
        "content": text,
        "finish_reason": text,
        "messages": pa.list_(pa.struct({"role": text, "content": text})),
        "n_choices": pa.int32(),
        "prompt_tokens": number,
        "completion_tokens": number,
        "total_tokens": number,
        "cached_tokens": number,
        "estimated_cost": pa.decimal128(38, _SCALE),
        "seed": number,
        "system_fingerprint": text,
        "error_code": text,
        "error_message": text,
        "response": text,
    }
    return pa.schema(columns, metadata={"batchchat.batch_id": batch_id})


def _groups(rows: JoinedRows, schema: Any, model: str | None) -> Iterator["_Group"]:
    """Cut the rows into groups of bounded size."""
    group = _Group(schema, model)
    for block, size in _blocks(rows):
        group.add(block, [rows.raw(row.line) for row in block if row.completed], size)
        if group.rows >= _GROUP_ROWS or group.size >= _GROUP_BYTES:
            yield group
            group = _Group(schema, model)
    if group.rows:
        yield group


def _blocks(rows: JoinedRows) -> Iterator[tuple[list[Row], int]]:
    """Yield the rows to decode together, and the bytes of their two lines each."""
    block: list[Row] = []
    size = 0
    for row in rows:
        block.append(row)
        size += len(row.result) + row.line.length
        if len(block) == _DECODED_ROWS or size >= _DECODED_BYTES:
            yield block, size
            block, size = [], 0
    if block:
        yield block, size


class _Group:
    """The rows of one row group: few as Python's objects, the others as Arrow's."""

    def __init__(self, schema: Any, model: str | None) -> None:
        self.rows = 0
        self.size = 0
        self._schema = schema
        self._columns = Columns(model, schema)
        self._batches: list[Any] = []

    def add(self, rows: list[Row], requests: list[bytes], size: int) -> None:
        """Take rows; `requests` are the input's lines of those that are completed."""
        self.rows += len(rows)
        self.size += size
        self._columns.add(rows, requests)
        if len(self._columns) >= _BATCH_ROWS:
            self._batches.append(self._columns.take())

    def table(self) -> Any:
        """Return the group as a table of Arrow."""
        import pyarrow as pa

        if self._columns:
            self._batches.append(self._columns.take())
        return pa.Table.from_batches(self._batches, self._schema)
