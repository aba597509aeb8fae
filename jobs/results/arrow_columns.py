"""Converts rows to Arrow columns; `parquet.py` describes the columns.

Each column is built from all its values at once. Work per row and column would take
longer than reading, decoding and writing together.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import accumulate, chain
from typing import Any, NamedTuple, TypeVar

import msgspec

from batchchat.jobs.requests.schema import TextPart
from batchchat.jobs.results.joined_rows import Row
from batchchat.jobs.results.output_reader import (
    Body,
    answers_of,
    decoded_all,
    failure_of,
    parse_result,
    response_text,
    responses_of,
)

T = TypeVar("T")


class _Message(msgspec.Struct, gc=False):
    """The exported part of a message; see `requests.schema.Message`."""

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
    """An input line: OpenAI's with a body, or a body alone."""

    body: _Conversation | None = None


_request = msgspec.json.Decoder(_Request)


class _Said(NamedTuple):
    """All messages in flat lists: Arrow is slow with lists of objects."""

    roles: list[str]
    texts: list[str | None]

    def add(self, conversations: list[list[_Message]]) -> list[int]:
        """Append conversations; return the number of messages in each."""
        flat = [*chain.from_iterable(conversations)]
        self.roles.extend([message.role for message in flat])
        self.texts.extend(
            [m.content if m.content.__class__ is str else m.text for m in flat]
        )
        return [*map(len, conversations)]


class Columns:
    """The values of rows, collected until they are converted to Arrow arrays.

    It holds plain values only: containers would slow down garbage collection.
    """

    def __init__(self, model: str | None, schema: Any) -> None:
        """Start without rows; `model` is the model of the batch."""
        self._model = model
        self._schema = schema
        self._clear()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._values["line"])

    def add(self, rows: list[Row], requests: list[bytes]) -> None:
        """Append rows; `requests` are the input lines of the completed ones."""
        for name, values in _columns(rows, requests, self._said).items():
            self._values[name] += values

    def take(self) -> Any:
        """Return the rows as an Arrow record batch, and start again."""
        import pyarrow as pa

        self._values["model"] = [self._model] * len(self)
        arrays = [self._array(field.name, field.type) for field in self._schema]
        self._clear()
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _clear(self) -> None:
        self._values: dict[str, list[Any]] = defaultdict(list)
        self._said = _Said([], [])

    def _array(self, name: str, kind: Any) -> Any:
        values = self._values[name]
        if name == "messages":
            return _messages(values, self._said, kind)
        return _array(values, kind)


def _columns(
    rows: list[Row], requests: list[bytes], said: _Said
) -> dict[str, list[Any]]:
    """Return the values of each column except `model`; add the messages to `said`."""
    completed = [row for row in rows if row.completed]
    columns = _answered(completed, requests, said)
    if len(completed) < len(rows):
        columns = {name: _spread(values, rows) for name, values in columns.items()}
    columns["line"] = [row.line.number for row in rows]
    columns["status"] = ["completed" if row.completed else "failed" for row in rows]
    columns["error_code"] = [None] * len(rows)
    columns["error_message"] = [None] * len(rows)
    for at, row in enumerate(rows):
        if not row.completed:
            for name, value in _failed(row).items():
                columns[name][at] = value
    return columns


def _answered(
    rows: list[Row], requests: list[bytes], said: _Said
) -> dict[str, list[Any]]:
    answers = answers_of(rows)
    bodies = [answer.response.body for answer in answers]
    choices = [body.choices[0] for body in bodies]
    used = [body.usage for body in bodies]
    return {
        "custom_id": [answer.custom_id for answer in answers],
        "content": [choice.message.content for choice in choices],
        "finish_reason": [choice.finish_reason for choice in choices],
        "messages": said.add(_conversations(rows, requests, bodies)),
        "n_choices": [len(body.choices) for body in bodies],
        "prompt_tokens": [usage.prompt_tokens for usage in used],
        "completion_tokens": [usage.completion_tokens for usage in used],
        "total_tokens": [usage.total_tokens for usage in used],
        "cached_tokens": [u.prompt_tokens_details.cached_tokens for u in used],
        "estimated_cost": [usage.estimated_cost for usage in used],
        "seed": [body.seed for body in bodies],
        "system_fingerprint": [body.system_fingerprint for body in bodies],
        "response": responses_of(rows),
    }


def _conversations(
    rows: list[Row], requests: list[bytes], bodies: list[Body]
) -> list[list[_Message]]:
    """Return the conversations with their generated turns and their answer."""
    found = []
    asked = decoded_all(_request, requests, "request", rows)
    for request, body in zip(asked, bodies, strict=True):
        messages = (request.body or request).messages
        for turn in body.turns:
            messages[turn.index].content = turn.message.content
        if not messages[-1].generate:
            messages.append(_Message("assistant", body.choices[0].message.content))
        found.append(messages)
    return found


def _spread(values: Iterable[T], rows: list[Row]) -> list[T | None]:
    """Return the values of the completed rows, with None for each other row."""
    left = iter(values)
    return [next(left) if row.completed else None for row in rows]


def _failed(row: Row) -> dict[str, Any]:
    result = parse_result(row)
    failure = failure_of(row, result)
    return {
        "custom_id": result.custom_id,
        "error_code": failure.code,
        "error_message": failure.message,
        "response": response_text(result),
    }


def _array(values: list[Any], kind: Any) -> Any:
    """Return a column; a constant one is built without converting each value."""
    import pyarrow as pa

    first = values[0]
    if values[-1] == first and values.count(first) == len(values):
        return pa.repeat(pa.scalar(first, kind), len(values))
    return _costs(values, kind) if pa.types.is_decimal(kind) else pa.array(values, kind)


def _messages(lengths: list[int | None], said: _Said, kind: Any) -> Any:
    """Return the column of conversations, null where the length is None."""
    import pyarrow as pa

    missing = pa.array([length is None for length in lengths], pa.bool_())
    ends = accumulate((length or 0 for length in lengths), initial=0)
    fields = [pa.array(texts, pa.string()) for texts in said]
    messages = pa.StructArray.from_arrays(fields, fields=list(kind.value_type))
    offsets = pa.array(ends, pa.int32())
    return pa.ListArray.from_arrays(offsets, messages, kind, mask=missing)


def _costs(costs: Sequence[Decimal | None], kind: Any) -> Any:
    """Return the column of costs, rounded if one of them has too many decimals."""
    import pyarrow as pa

    try:
        return pa.array(costs, kind)
    except pa.ArrowInvalid:
        finest = Decimal(1).scaleb(-kind.scale)
        return pa.array([cost and cost.quantize(finest) for cost in costs], kind)
