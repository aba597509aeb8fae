"""Columns whose values are lists of objects: messages and choices.

Arrow is slow with lists of Python objects, so each field is collected in one flat list,
beside the number of objects in each row.
"""

from collections.abc import Iterable
from contextlib import suppress
from itertools import accumulate, chain
from typing import Any

import msgspec

from batchchat.jobs.json_lines import encode
from batchchat.jobs.results.output_reader import (
    AnsweredChoice,
    CalledFunction,
    ToolCall,
)

MESSAGE_FIELDS = (
    "role",
    "content",
    "reasoning_content",
    "tool_calls",
    "tool_call_id",
    "name",
)
CHOICE_FIELDS = (
    "index",
    "content",
    "reasoning_content",
    "tool_calls",
    "finish_reason",
    "seed",
)

Fields = dict[str, list[Any]]
"""The values of each field, of all objects of all rows."""


class _Part(msgspec.Struct, gc=False):
    """A part of a message's content: a text, or a refusal."""

    text: str = ""
    refusal: str = ""


class Message(msgspec.Struct, gc=False):
    """The fields of a message that a row keeps; see `jobs.requests.schema.Message`."""

    role: str
    content: str | list[_Part] | None = None
    refusal: str | None = None
    function_call: CalledFunction | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    generate: bool | None = None

    @property
    def text(self) -> str | None:
        """The content as one string, with the refusal of the assistant."""
        text = self.content
        if isinstance(text, list):
            text = "\n".join(part.text or part.refusal for part in text)
        if not self.refusal:
            return text
        return f"{text}\n{self.refusal}" if text else self.refusal


def add_messages(fields: Fields, conversations: list[list[Message]]) -> list[int]:
    """Append conversations; return the number of messages of each."""
    flat = [*chain.from_iterable(conversations)]
    fields["role"] += [message.role for message in flat]
    fields["content"] += [
        m.content if m.content.__class__ is str and not m.refusal else m.text
        for m in flat
    ]
    fields["reasoning_content"] += [m.reasoning_content or m.reasoning for m in flat]
    fields["tool_calls"] += [
        m.tool_calls and tool_call_texts(m.tool_calls) for m in flat
    ]
    fields["tool_call_id"] += [message.tool_call_id for message in flat]
    fields["name"] += [message.name for message in flat]
    return [*map(len, conversations)]


def add_choices(fields: Fields, choices: list[list[AnsweredChoice]]) -> list[int]:
    """Append the choices of answers; return the number of choices of each."""
    flat = [*chain.from_iterable(choices)]
    fields["index"] += [choice.index for choice in flat]
    fields["content"] += [choice.message.content for choice in flat]
    fields["reasoning_content"] += [choice.message.reasoning for choice in flat]
    fields["tool_calls"] += [
        choice.message.tool_calls and tool_call_texts(choice.message.tool_calls)
        for choice in flat
    ]
    fields["finish_reason"] += [choice.finish_reason for choice in flat]
    fields["seed"] += [choice.seed for choice in flat]
    return [*map(len, choices)]


def list_array(lengths: list[int | None], fields: Fields, kind: Any) -> Any:
    """Return a column of lists of structs, null where the length is None."""
    import pyarrow as pa

    types = list(kind.value_type)
    arrays = [flat_array(fields[field.name], field.type) for field in types]
    structs = pa.StructArray.from_arrays(arrays, fields=types)
    return _list_array(lengths, structs, kind)


def flat_array(values: list[Any], kind: Any) -> Any:
    """Return an array; a constant one is built without converting each value."""
    import pyarrow as pa

    first = values[0] if values else None
    if not values or (values[-1] == first and values.count(first) == len(values)):
        if first is None:
            return pa.nulls(len(values), kind)
        if not pa.types.is_nested(kind) and kind != pa.json_():
            return pa.repeat(pa.scalar(first, kind), len(values))
    if kind == pa.json_():
        return pa.ExtensionArray.from_storage(kind, flat_array(values, pa.string()))
    if pa.types.is_list(kind):
        flat = [*chain.from_iterable(value for value in values if value is not None)]
        lengths = [None if value is None else len(value) for value in values]
        return _list_array(lengths, flat_array(flat, kind.value_type), kind)
    return pa.array(values, kind)


def _list_array(lengths: list[int | None], flat: Any, kind: Any) -> Any:
    import pyarrow as pa

    missing = pa.array([length is None for length in lengths], pa.bool_())
    ends = accumulate((length or 0 for length in lengths), initial=0)
    offsets = pa.array(ends, pa.int32())
    return pa.ListArray.from_arrays(offsets, flat, kind, mask=missing)


def tool_call_texts(calls: Iterable[ToolCall]) -> list[str] | None:
    """Return each call as JSON, with its arguments as an object.

    Chat templates and TRL read an object there, while OpenAI's API has the object's
    JSON as a string. Arguments that are no JSON object stay a string.
    """
    return [encode(_call(call)).decode() for call in calls] or None


def _call(call: ToolCall) -> dict[str, Any]:
    arguments: Any = call.function.arguments
    if isinstance(arguments, str):
        with suppress(msgspec.MsgspecError, RecursionError):
            msgspec.json.decode(arguments, type=dict)
            arguments = msgspec.Raw(arguments.encode())
    function = {"name": call.function.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}
