"""Converts rows to Arrow columns; see `rows/result_columns.py` for what they hold.

Each column is built from all its values at once. Work per row and column would take
longer than reading, decoding and writing together.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import msgspec

from batchchat.jobs.json_lines import encode
from batchchat.jobs.requests.canonical_form import (
    may_call_functions,
    replace_function_calls,
)
from batchchat.jobs.results.joined_rows import Row
from batchchat.jobs.results.nested_columns import (
    CHOICE_FIELDS,
    MESSAGE_FIELDS,
    Fields,
    Message,
    add_choices,
    add_messages,
    flat_array,
    list_array,
    tool_call_texts,
)
from batchchat.jobs.results.output_reader import (
    AnsweredChoice,
    AnsweredMessage,
    Body,
    ToolCall,
    answers_of,
    decoded_all,
    failure_of,
    parse_result,
    response_text,
    responses_of,
)

T = TypeVar("T")

_NULL = msgspec.Raw(b"null")


class _Conversation(msgspec.Struct, gc=False):
    messages: list[Message] = []
    tools: msgspec.Raw = _NULL
    metadata: dict[str, str | None] | None = None


class _Request(_Conversation, gc=False):
    """An input line: OpenAI's with a body, or a body alone."""

    body: _Conversation | None = None


class _Metadata(msgspec.Struct, gc=False):
    metadata: dict[str, str | None] | None = None


class _FailedRequest(_Metadata, gc=False):
    """The same of a line that may be invalid."""

    body: _Metadata | None = None


_request = msgspec.json.Decoder(_Request)
_failed_request = msgspec.json.Decoder(_FailedRequest)


class _NestedFields(NamedTuple):
    """The fields of the columns `messages` and `choices`."""

    messages: Fields
    choices: Fields


class Columns:
    """The values of rows, collected until they are converted to Arrow arrays.

    It holds plain values only: containers would slow down garbage collection.
    """

    def __init__(self, model: str | None, schema: Any) -> None:
        """Start without rows; `model` is the model of the batch."""
        self._model = model
        self._schema = schema
        self._has_rows = "prompt_text" in schema.names
        self._clear()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._values["line"])

    def add(self, rows: list[Row], requests: list[bytes]) -> None:
        """Append rows; `requests` are their input lines."""
        columns = _columns(rows, requests, self._nested, has_rows=self._has_rows)
        for name, values in columns.items():
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
        self._nested = _NestedFields(
            {name: [] for name in MESSAGE_FIELDS}, {name: [] for name in CHOICE_FIELDS}
        )

    def _array(self, name: str, kind: Any) -> Any:
        import pyarrow as pa

        values = self._values[name]
        if name in _NestedFields._fields:
            return list_array(values, getattr(self._nested, name), kind)
        return (
            _costs(values, kind)
            if pa.types.is_decimal(kind)
            else flat_array(values, kind)
        )


def _columns(
    rows: list[Row], requests: list[bytes], nested: _NestedFields, *, has_rows: bool
) -> dict[str, list[Any]]:
    """Return the values of each column except `model`; add to `nested`.

    `has_rows` states whether those that only a batch of rows has are included.
    """
    completed = [row for row in rows if row.completed]
    asked = requests
    if len(completed) < len(rows):
        each = zip(rows, requests, strict=True)
        asked = [request for row, request in each if row.completed]
    columns = _answered(completed, asked, nested, has_rows=has_rows)
    if len(completed) < len(rows):
        columns = {name: _spread(values, rows) for name, values in columns.items()}
    columns["line"] = [row.line.number for row in rows]
    columns["status"] = ["completed" if row.completed else "failed" for row in rows]
    columns["error_code"] = [None] * len(rows)
    columns["error_message"] = [None] * len(rows)
    for at, row in enumerate(rows):
        if not row.completed:
            for name, value in _failed(row, requests[at]).items():
                columns[name][at] = value
    return columns


def _answered(
    rows: list[Row], requests: list[bytes], nested: _NestedFields, *, has_rows: bool
) -> dict[str, list[Any]]:
    answers = answers_of(rows)
    bodies = [answer.response.body for answer in answers]
    choices = [body.choices[0] for body in bodies]
    used = [body.usage for body in bodies]
    lines = decoded_all(_request, requests, "request", rows)
    asked: list[_Conversation] = [line.body or line for line in lines]
    return (_of_rows(asked, choices) if has_rows else {}) | {
        "custom_id": [answer.custom_id for answer in answers],
        "content": [choice.message.content for choice in choices],
        "finish_reason": [choice.finish_reason for choice in choices],
        "messages": add_messages(
            nested.messages, _conversations(requests, asked, bodies)
        ),
        "tools": [_unless_null(one.tools) for one in asked],
        "n_choices": [len(body.choices) for body in bodies],
        "choices": add_choices(nested.choices, [body.choices for body in bodies]),
        "prompt_tokens": [usage.prompt_tokens for usage in used],
        "completion_tokens": [usage.completion_tokens for usage in used],
        "total_tokens": [usage.total_tokens for usage in used],
        "cached_tokens": [u.prompt_tokens_details.cached_tokens for u in used],
        "estimated_cost": [usage.estimated_cost for usage in used],
        "seed": [body.seed for body in bodies],
        "system_fingerprint": [body.system_fingerprint for body in bodies],
        "metadata": [_metadata(one.metadata) for one in asked],
        "reused_from": [_unless_null(body.reused_from) for body in bodies],
        "response": responses_of(rows),
    }


def _unless_null(raw: msgspec.Raw) -> bytes | None:
    return None if raw == _NULL else bytes(raw)


def _of_rows(
    asked: list[_Conversation], choices: list[AnsweredChoice]
) -> dict[str, list[Any]]:
    """Return the columns that only a batch of rows has; `asked` has no answers yet."""
    answers = [choice.message for choice in choices]
    return {
        "prompt_text": [_prompt_text(one.messages) for one in asked],
        "reasoning_content": [answer.reasoning for answer in answers],
        "tool_calls": [a.tool_calls and tool_call_texts(a.tool_calls) for a in answers],
    }


def _prompt_text(messages: list[Message]) -> str | None:
    """Return the text of the last user message, None if there is none."""
    asked = (message.text for message in reversed(messages) if message.role == "user")
    return next(asked, None)


def _conversations(
    requests: list[bytes], asked: list[_Conversation], bodies: list[Body]
) -> list[list[Message]]:
    """Return the conversations with their generated turns and their answer."""
    found = []
    for raw, request, body in zip(requests, asked, bodies, strict=True):
        messages = request.messages
        if may_call_functions(raw):
            replace_function_calls(messages, ToolCall, None)
        for turn in body.turns:
            _fill(messages[turn.index], turn.message)
        if not messages[-1].generate:
            messages.append(_fill(Message("assistant"), body.choices[0].message))
        found.append(messages)
    return found


def _fill(message: Message, answer: AnsweredMessage) -> Message:
    message.content = answer.content
    message.reasoning = answer.reasoning
    message.tool_calls = answer.tool_calls
    return message


def _spread(values: Iterable[T], rows: list[Row]) -> list[T | None]:
    """Return the values of the completed rows, with None for each other row."""
    left = iter(values)
    return [next(left) if row.completed else None for row in rows]


def _failed(row: Row, request: bytes) -> dict[str, Any]:
    result = parse_result(row)
    failure = failure_of(row, result)
    return {
        "custom_id": result.custom_id,
        "metadata": _metadata_of(request),
        "error_code": failure.code,
        "error_message": failure.message,
        "response": response_text(result),
    }


def _metadata_of(request: bytes) -> bytes | None:
    """Return the metadata of a request that may be invalid, as JSON."""
    try:
        line = _failed_request.decode(request)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return _metadata(line.body.metadata if line.body else line.metadata)


def _metadata(given: dict[str, str | None] | None) -> bytes | None:
    """Return metadata as JSON, without its null values; None if there is none."""
    metadata = {name: text for name, text in (given or {}).items() if text is not None}
    return encode(metadata) if metadata else None


def _costs(costs: Sequence[Decimal | None], kind: Any) -> Any:
    """Return the column of costs, rounded if one of them has too many decimals."""
    import pyarrow as pa

    try:
        return pa.array(costs, kind)
    except pa.ArrowInvalid:
        finest = Decimal(1).scaleb(-kind.scale)
        return pa.array([cost and cost.quantize(finest) for cost in costs], kind)
