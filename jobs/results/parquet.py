"""Writes the results of a batch as Parquet: one row per request, typed columns.

`status` is `completed` or `failed`; requests that never ran are `failed` with the code
`batch_cancelled` or `batch_expired`. `messages` is the conversation with all generated
turns and the first answer, as fine-tuning needs it; it is null if there is no answer.
A turn that only calls tools has no content. `choices` has all answers. `tools`,
`metadata` and each of the `tool_calls` have Parquet's JSON type, which `datasets` reads
as objects and other readers as text. `estimated_cost` is `decimal128(38, 18)`,
which is exact for prices with up to 12 decimals per million tokens.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import RawIOBase
from typing import Any, BinaryIO

from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.results.arrow_columns import Columns
from batchchat.jobs.results.joined_rows import JoinedRows, Row
from batchchat.jobs.results.merged_rows import MergedRows
from batchchat.jobs.results.nested_columns import CHOICE_FIELDS, MESSAGE_FIELDS

_GROUP_ROWS = 8_192
_GROUP_BYTES = 64 * 1024 * 1024
"""Size of the requests and results in a row group; the last rows may exceed it."""

_DECODED_ROWS = 128
"""Rows that are decoded together: few enough to not trigger garbage collection."""

_DECODED_BYTES = 1024 * 1024
"""Size of the requests and results that are decoded together."""

_BATCH_ROWS = 1_024
"""Rows held as Python objects, which take five times the memory of Arrow's."""

_WRITTEN_BYTES = 1024 * 1024
"""Buffer size of writes to the file."""

_SCALE = 18
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
    merged: MergedRows | None = None,
) -> int:
    """Write a batch that has ended, or the `merged` rows; return the number of rows.

    Holds two row groups in memory: one is compressed while the next is read. `sink` is
    not closed.

    Raises:
        ConflictError: the batch has not ended.
        CorruptObjectError: the stored results are corrupt.

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
        for group in _groups(merged or JoinedRows(ledger, state), schema, model):
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


def _schema(batch_id: str) -> Any:
    """Return the schema, which is the same for all batches."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    columns = {
        "custom_id": text,
        "line": number,
        "status": text,
        "model": text,
        "content": text,
        "finish_reason": text,
        "messages": pa.list_(_struct(MESSAGE_FIELDS)),
        "tools": pa.json_(),
        "n_choices": pa.int32(),
        "choices": pa.list_(_struct(CHOICE_FIELDS)),
        "prompt_tokens": number,
        "completion_tokens": number,
        "total_tokens": number,
        "cached_tokens": number,
        "estimated_cost": pa.decimal128(38, _SCALE),
        "seed": number,
        "system_fingerprint": text,
        "metadata": pa.json_(),
        "error_code": text,
        "error_message": text,
        "response": text,
    }
    return pa.schema(columns, metadata={"batchchat.batch_id": batch_id})


def _request(rows: JoinedRows | MergedRows, row: Row) -> bytes:
    """Return the line of a request; a line that was too long to be one is not read."""
    return rows.raw(row.line) if row.completed else row.line.raw or b""


def _struct(names: Iterable[str]) -> Any:
    import pyarrow as pa

    special = {
        "index": pa.int32(),
        "seed": pa.int64(),
        "tool_calls": pa.list_(pa.json_()),
    }
    return pa.struct({name: special.get(name, pa.string()) for name in names})


def _groups(
    rows: JoinedRows | MergedRows, schema: Any, model: str | None
) -> Iterator["_Group"]:
    """Divide the rows into row groups of bounded size."""
    group = _Group(schema, model)
    for block, size in _blocks(rows):
        group.add(block, [_request(rows, row) for row in block], size)
        if group.rows >= _GROUP_ROWS or group.size >= _GROUP_BYTES:
            yield group
            group = _Group(schema, model)
    if group.rows:
        yield group


def _blocks(rows: JoinedRows | MergedRows) -> Iterator[tuple[list[Row], int]]:
    """Yield rows to decode together, with the size of their requests and results."""
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
    """A row group in progress: a few rows as Python objects, the others in Arrow."""

    def __init__(self, schema: Any, model: str | None) -> None:
        self.rows = 0
        self.size = 0
        self._schema = schema
        self._columns = Columns(model, schema)
        self._batches: list[Any] = []

    def add(self, rows: list[Row], requests: list[bytes], size: int) -> None:
        """Add rows; `requests` are the input lines of the completed ones."""
        self.rows += len(rows)
        self.size += size
        self._columns.add(rows, requests)
        if len(self._columns) >= _BATCH_ROWS:
            self._batches.append(self._columns.take())

    def table(self) -> Any:
        """Return the group as an Arrow table."""
        import pyarrow as pa

        if self._columns:
            self._batches.append(self._columns.take())
        return pa.Table.from_batches(self._batches, self._schema)
