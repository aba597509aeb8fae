"""Writes equal requests in one way, so that later code need not know the others."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from batchchat.jobs.requests.schema import Message
from batchchat.jobs.requests.schema_keywords import (
    DEFINITIONS,
    LISTS,
    MAPS,
    OTHER_SCHEMAS,
    SINGLE,
)
from batchchat.jobs.requests.schema_types import (
    MAX_SCHEMA_DEPTH,
    FunctionCall,
    ToolCall,
)

_MEANS_NULL = ("default", "const")
"""Keywords of a schema whose value may be null."""


def make_canonical(body: Any, raw: bytes) -> None:
    """Change a body that was decoded from `raw`, in place.

    - Null means that a field is absent. Templates and grammars would otherwise see it.
    - `top_k` -1 is 0, and `seed` -1 is none, as in vLLM.
    - The arguments of calls are text.
    - Deprecated calls of functions, and their results, become those of tools.
    """
    may_call = may_call_functions(raw)
    if may_call:
        _write_arguments(body.messages)
    if b"null" in raw:
        _unset_nulls(body)
        for message in body.messages:
            _unset_content(message)
    if body.top_k == -1:
        body.top_k = 0
    if body.seed == -1:
        body.seed = UNSET
    if may_call:
        replace_function_calls(body.messages, _tool_call, UNSET)


def _write_arguments(messages: list[Message]) -> None:
    for message in messages:
        functions = [call.function for call in message.calls]
        if isinstance(message.function_call, FunctionCall):
            functions.append(message.function_call)
        for function in functions:
            if isinstance(function.arguments, dict):
                with suppress(RecursionError):  # then it is nested too deeply
                    encoded = msgspec.json.encode(function.arguments)
                    function.arguments = encoded.decode()


def _tool_call(call_id: str, function: FunctionCall) -> ToolCall:
    return ToolCall(call_id, "function", function)


def _unset_content(message: Message) -> None:
    """Treat null as no content where that is allowed; an empty answer is a text."""
    if message.content is None and message.role == "assistant":
        has_more = message.has_more_than_content or message.generate is True
        message.content = UNSET if has_more else ""


def _unset_nulls(value: Struct) -> None:
    for name in value.__struct_fields__:
        item = getattr(value, name)
        if item is None:
            if name != "content":
                setattr(value, name, UNSET)
        elif isinstance(item, Struct):
            _unset_nulls(item)
        elif isinstance(item, list):
            for one in item:
                if isinstance(one, Struct):
                    _unset_nulls(one)
        elif isinstance(item, dict):
            setattr(value, name, _without_nulls(name, item))


def _without_nulls(name: str, value: dict[str, Any]) -> dict[str, Any]:
    if name == "chat_template_kwargs":  # null is a value of a template's variable
        return value
    if name in ("metadata", "logit_bias"):
        return {key: item for key, item in value.items() if item is not None}
    schema: dict[str, Any] = _schema_without_nulls(value, MAX_SCHEMA_DEPTH)
    return schema


def _schema_without_nulls(schema: Any, levels: int) -> Any:
    """Return a schema without null keywords and properties.

    Tables of Arrow have them, since all rows of a table have the same fields.
    """
    if not levels:
        return schema
    if isinstance(schema, list):
        return [_schema_without_nulls(part, levels - 1) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        keyword: _keyword_without_nulls(keyword, value, levels - 1)
        for keyword, value in schema.items()
        if value is not None or keyword in _MEANS_NULL
    }


def _keyword_without_nulls(keyword: str, value: Any, levels: int) -> Any:
    if keyword in (*MAPS, *DEFINITIONS) and isinstance(value, dict):
        return {
            name: _schema_without_nulls(part, levels)
            for name, part in value.items()
            if part is not None
        }
    if keyword in (*LISTS, *SINGLE, *OTHER_SCHEMAS):
        return _schema_without_nulls(value, levels)
    return value


def may_call_functions(raw: bytes) -> bool:
    """Return whether a line may have deprecated calls of functions."""
    return b"function" in raw or b"\\u" in raw  # as keys may have escapes


def replace_function_calls(
    messages: list[Any], make_call: Callable[[str, Any], Any], absent: Any
) -> None:
    """Replace deprecated calls of functions, and their results, by those of tools.

    The calls get ids. `absent` is the value of absent fields of the messages.
    """
    last_call = absent
    for index, message in enumerate(messages):
        if message.function_call and message.role == "assistant":
            if not message.tool_calls:
                # Mistral's templates require ids of nine letters.
                call = make_call(f"call{index:05}", message.function_call)
                message.tool_calls = [call]
            message.function_call = absent
            last_call = message.tool_calls[-1].id
        elif message.role == "function":
            message.role = "tool"
            message.tool_call_id = message.tool_call_id or last_call
