"""The results of a batch as Parquet: one row a request, typed columns.

`status` is `completed` or `failed`; a request that never ran has failed with the
code `batch_cancelled` or `batch_expired`. `messages` is the conversation with its
first answer and with its slots filled, as fine-tuning takes it; it is null where
there was no answer, since that is no example. A turn that only calls tools has no
content there. `estimated_cost` is `decimal128(38, 18)`: exact for prices of
up to 12 decimals a million tokens (finer ones are rounded), with room for sums.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from io import RawIOBase
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple

import msgspec

from jobs.ledger import Ledger, State
from jobs.request import TextPart
from jobs.result import (
    Answer,
    Body,
    ResultLine,
    answer_of,
    decoded,
    failure_of,
    response_text,
    result_of,
)
from jobs.rows import Row, Rows

_GROUP_ROWS = 16_384
_GROUP_BYTES = 64 * 1024 * 1024
"""Of requests and results in a row group, unless a single one is larger."""

_BATCH_ROWS = 1_024
"""Rows that are kept as objects of Python, which take five times the memory."""

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


class _Message(msgspec.Struct, gc=False):
    """What a conversation keeps of a message; see `jobs.request.Message`."""

    role: str
    content: str | list[TextPart] | None = None
    generate: bool = False

    @property
    def text(self) -> str | None:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content


class _Conversation(msgspec.Struct, gc=False):
    messages: list[_Message] = []


class _Request(_Conversation, gc=False):
    """A line of the input: OpenAI's with its body, or a body alone."""

    body: _Conversation | None = None


_request = msgspec.json.Decoder(_Request)


class _Cells(NamedTuple):
    """A row without its conversation; the fields are columns."""

    custom_id: str | None
    line: int
    status: str
    content: str | None = None
    finish_reason: str | None = None
    n_choices: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    estimated_cost: Decimal | None = None
    seed: int | None = None
    system_fingerprint: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    response: bytes | None = None


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
        pq.ParquetWriter(
            sink, schema, compression="zstd", use_dictionary=_REPEATED
        ) as writer,
        ThreadPoolExecutor(1) as beside,
    ):
        writing: Future[None] | None = None
        for group in _groups(Rows(ledger, state), schema, model):
            table = group.table()
            if writing is not None:
                writing.result()
            writing = beside.submit(writer.write_table, table, _GROUP_ROWS)
            written += group.rows
        if writing is not None:
            writing.result()
    return written


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


def _groups(rows: Rows, schema: Any, model: str | None) -> Iterator["_Group"]:
    """Cut the rows into groups of bounded size."""
    group = _Group(schema, model)
    for row in rows:
        group.add(row, rows.raw(row.line) if row.completed else None)
        if group.rows == _GROUP_ROWS or group.size >= _GROUP_BYTES:
            yield group
            group = _Group(schema, model)
    if group.rows:
        yield group


class _Group:
    """The rows of one row group: few as Python's objects, the others as Arrow's."""

    def __init__(self, schema: Any, model: str | None) -> None:
        self.rows = 0
        self.size = 0
        self._schema = schema
        self._model = model
        self._batches: list[Any] = []
        self._begin()

    def add(self, row: Row, request: bytes | None) -> None:
        """Take a row; `request` is its line of the input if it is completed."""
        self.rows += 1
        self.size += len(row.result)
        if request is None:
            self._cells.append(_failed(row, result_of(row)))
            self._conversations.add_none()
        else:
            self.size += len(request)
            answer = answer_of(row)
            self._cells.append(_completed(row, answer))
            asked = decoded(_request, request, "request", row)
            self._conversations.add((asked.body or asked).messages, answer.body)
        if len(self._cells) == _BATCH_ROWS:
            self._pack()

    def table(self) -> Any:
        """Return the group as a table of Arrow."""
        import pyarrow as pa

        if self._cells:
            self._pack()
        return pa.Table.from_batches(self._batches, self._schema)

    def _begin(self) -> None:
        self._cells: list[_Cells] = []
        self._conversations = _Conversations()

    def _pack(self) -> None:
        """Make what was added since the last time a batch of Arrow's."""
        import pyarrow as pa

        cells = zip(*self._cells, strict=True)
        columns = dict(zip(_Cells._fields, cells, strict=True))
        columns["model"] = (self._model,) * len(self._cells)
        kinds = {field.name: field.type for field in self._schema}
        made = {
            "messages": self._conversations.array(kinds["messages"]),
            "estimated_cost": _costs(
                columns["estimated_cost"], kinds["estimated_cost"]
            ),
        }
        made |= {n: _column(columns[n], kinds[n]) for n in kinds if n not in made}
        arrays = [made[name] for name in kinds]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._begin()


class _Conversations:
    """A column of conversations, kept flat: Arrow is slow with lists of objects."""

    def __init__(self) -> None:
        self._lengths: list[int] = []
        self._roles: list[str] = []
        self._contents: list[str | None] = []

    def add(self, messages: list[_Message], body: Body) -> None:
        """Append a conversation with its slots filled, and its answer."""
        before = len(self._roles)
        for message in messages:
            self._roles.append(message.role)
            self._contents.append(message.text)
        for turn in body.turns:
            self._contents[before + turn.index] = turn.message.content
        if not messages[-1].generate:
            self._roles.append("assistant")
            self._contents.append(body.choices[0].message.content)
        self._lengths.append(len(self._roles) - before)

    def add_none(self) -> None:
        """Append a null."""
        self._lengths.append(0)

    def array(self, kind: Any) -> Any:
        """Return the column, of type `kind`; an empty conversation is a null."""
        import pyarrow as pa

        offsets = pa.array(accumulate(self._lengths, initial=0), pa.int32())
        missing = pa.array([not length for length in self._lengths], pa.bool_())
        flat = [pa.array(texts, pa.string()) for texts in (self._roles, self._contents)]
        messages = pa.StructArray.from_arrays(flat, fields=list(kind.value_type))
        return pa.ListArray.from_arrays(offsets, messages, kind, mask=missing)


def _completed(row: Row, answer: Answer) -> _Cells:
    body, choice, usage = answer.body, answer.body.choices[0], answer.body.usage
    return _Cells(  # by position: it is made for each row
        answer.custom_id,
        row.line.number,
        "completed",
        choice.message.content,
        choice.finish_reason,
        len(body.choices),
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.prompt_tokens_details.cached_tokens,
        usage.estimated_cost,
        body.seed,
        body.system_fingerprint,
        None,
        None,
        answer.response,
    )


def _failed(row: Row, result: ResultLine) -> _Cells:
    failure = failure_of(row, result)
    return _Cells(
        custom_id=result.custom_id,
        line=row.line.number,
        status="failed",
        error_code=failure.code,
        error_message=failure.message,
        response=response_text(result),
    )


def _column(values: Sequence[Any], kind: Any) -> Any:
    """Return a column; of one value all over it is made without looking at each."""
    import pyarrow as pa

    first = values[0]
    if values.count(first) == len(values):
        return pa.repeat(pa.scalar(first, kind), len(values))
    return pa.array(values, kind)


def _costs(costs: Sequence[Decimal | None], kind: Any) -> Any:
    """Return the column of costs, rounded only where one has too many decimals."""
    import pyarrow as pa

    try:
        return pa.array(costs, kind)
    except pa.ArrowInvalid:
        finest = Decimal(1).scaleb(-kind.scale)
        return pa.array([cost and cost.quantize(finest) for cost in costs], kind)
