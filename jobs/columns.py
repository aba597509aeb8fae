"""Rows of a batch as columns of Arrow: see `jobs.parquet` for what they say.

A column is made of all its values at once, since whatever is done for each row and
each column in turn takes longer than reading, decoding and writing together.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import accumulate, chain
from typing import Any, TypeVar

import msgspec

from jobs.request import TextPart
from jobs.result import (
    Body,
    answers_of,
    decoded_all,
    failure_of,
    response_of,
    response_text,
    result_of,
)
from jobs.rows import Row

T = TypeVar("T")


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


def record_batch(
    rows: list[Row], requests: list[bytes], model: str | None, schema: Any
) -> Any:
    """Return rows as a batch of Arrow's.

    `requests` are the lines of the input of the rows that are completed.
    """
    import pyarrow as pa

    columns = _columns(rows, requests)
    columns["model"] = [model] * len(rows)
    arrays = [_array(columns[field.name], field.name, field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _columns(rows: list[Row], requests: list[bytes]) -> dict[str, list[Any]]:
    """Return the values of each column but the model's."""
    completed = [row for row in rows if row.completed]
    columns = _answered(completed, requests)
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


def _answered(rows: list[Row], requests: list[bytes]) -> dict[str, list[Any]]:
    answers = answers_of(rows)
    bodies = [answer.response.body for answer in answers]
    choices = [body.choices[0] for body in bodies]
    used = [body.usage for body in bodies]
    return {
        "custom_id": [answer.custom_id for answer in answers],
        "content": [choice.message.content for choice in choices],
        "finish_reason": [choice.finish_reason for choice in choices],
        "messages": _conversations(rows, requests, bodies),
        "n_choices": [len(body.choices) for body in bodies],
        "prompt_tokens": [usage.prompt_tokens for usage in used],
        "completion_tokens": [usage.completion_tokens for usage in used],
        "total_tokens": [usage.total_tokens for usage in used],
        "cached_tokens": [u.prompt_tokens_details.cached_tokens for u in used],
        "estimated_cost": [usage.estimated_cost for usage in used],
        "seed": [body.seed for body in bodies],
        "system_fingerprint": [body.system_fingerprint for body in bodies],
        "response": [response_of(row) for row in rows],
    }


def _conversations(
    rows: list[Row], requests: list[bytes], bodies: list[Body]
) -> list[list[_Message]]:
    """Return the conversations, each with its slots filled, and its answer."""
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
    """Return the values of completed rows with a null for each other row."""
    left = iter(values)
    return [next(left) if row.completed else None for row in rows]


def _failed(row: Row) -> dict[str, Any]:
    result = result_of(row)
    failure = failure_of(row, result)
    return {
        "custom_id": result.custom_id,
        "error_code": failure.code,
        "error_message": failure.message,
        "response": response_text(result),
    }


def _array(values: list[Any], name: str, kind: Any) -> Any:
    """Return a column; of one value all over it is made without looking at each."""
    import pyarrow as pa

    if name == "messages":
        return _messages(values, kind)
    first = values[0]
    if values.count(first) == len(values):
        return pa.repeat(pa.scalar(first, kind), len(values))
    if name == "estimated_cost":
        return _costs(values, kind)
    return pa.array(values, kind)


def _messages(conversations: list[list[_Message] | None], kind: Any) -> Any:
    """Return the column of conversations; Arrow is slow with lists of objects."""
    import pyarrow as pa

    missing = pa.array([said is None for said in conversations], pa.bool_())
    said = [messages or [] for messages in conversations]
    offsets = pa.array(accumulate(map(len, said), initial=0), pa.int32())
    flat = [*chain.from_iterable(said)]
    roles = [message.role for message in flat]
    texts = [m.content if m.content.__class__ is str else m.text for m in flat]
    fields = [pa.array(roles, pa.string()), pa.array(texts, pa.string())]
    messages = pa.StructArray.from_arrays(fields, fields=list(kind.value_type))
    return pa.ListArray.from_arrays(offsets, messages, kind, mask=missing)


def _costs(costs: Sequence[Decimal | None], kind: Any) -> Any:
    """Return the column of costs, rounded only where one has too many decimals."""
    import pyarrow as pa

    try:
        return pa.array(costs, kind)
    except pa.ArrowInvalid:
        finest = Decimal(1).scaleb(-kind.scale)
        return pa.array([cost and cost.quantize(finest) for cost in costs], kind)
