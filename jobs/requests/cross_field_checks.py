"""What no single field's type can say: how the fields of a request fit together."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from batchchat.jobs.requests import schema_types
from batchchat.jobs.requests.parameters import MAX_SEED
from batchchat.jobs.requests.schema import Message, Request
from batchchat.jobs.requests.type_checks import missing_content

FieldProblem = tuple[str, str, str]
"""A problem without its line: code, message, param."""

_GENERATED = ("tools", "tool_choice", "response_format", "structured_outputs")
"""What a slot may say for itself, instead of the body's."""


def cross_field_problems(request: Request) -> Iterator[FieldProblem]:
    """Yield what is wrong between the fields of a request."""
    yield from _numbers(request)
    yield from _conversation(request)
    yield from _shapes(request.body, "body")


def _numbers(request: Request) -> Iterator[FieldProblem]:
    given = request.parameter
    children = given("n") or 1
    if children > 1 and given("temperature") == 0:
        message = "must be 1 when `temperature` is 0: all would be the same"
        yield "invalid_value", message, "body.n"
    if (given("seed") or 0) + children - 1 > MAX_SEED:
        message = f"seed + n - 1 must be at most {MAX_SEED}"
        yield "invalid_value", message, "body.seed"
    if given("top_logprobs") and not given("logprobs"):
        yield "invalid_value", "needs `logprobs` to be true", "body.top_logprobs"
    most = _first(given("max_completion_tokens"), given("max_tokens"))
    if most is not None and (given("min_tokens") or 0) > most:
        message = f"must be at most the tokens that may be generated, {most}"
        yield "invalid_value", message, "body.min_tokens"
    if children > 1 and any(turn.is_placeholder for turn in request.body.messages):
        message = "must be 1 where a turn is generated within: one answer goes on"
        yield "invalid_value", message, "body.n"


def _conversation(request: Request) -> Iterator[FieldProblem]:
    for index, message in enumerate(request.body.messages):
        if not message.is_text_only:
            yield from _message(message, f"body.messages[{index}]")


def _message(message: Message, at: str) -> Iterator[FieldProblem]:
    """Yield what is wrong with a turn that is not just somebody's text."""
    if message.generate is False:
        yield "invalid_value", "must be true, or left out", f"{at}.generate"
    elif message.generate is True:
        yield from _slot(message, at)
        return
    for name in _GENERATED:
        if getattr(message, name) is not UNSET:
            text = "belongs to a slot: add `generate: true`, or put it into the body"
            yield "invalid_value", text, f"{at}.{name}"
    if message.role != "assistant":
        for name in ("tool_calls", "reasoning", "reasoning_content"):
            if getattr(message, name) not in (UNSET, None):
                yield "invalid_value", "only an assistant has it", f"{at}.{name}"
    if message.content in (UNSET, None) and not message.calls:
        yield missing_content(f"{at}.content", missing=message.content is UNSET)
    for index, call in enumerate(message.calls):
        where = f"{at}.tool_calls[{index}].function.arguments"
        yield from _arguments(call.function.arguments, where)


def _arguments(text: str, at: str) -> Iterator[FieldProblem]:
    """Yield why a template can't be given arguments; those that are no JSON can be."""
    most = schema_types.MAX_ARGUMENTS_DEPTH
    try:
        value = json.loads(text or "{}")
        json.dumps(value, ensure_ascii=False).encode()
        is_deep = _is_deeper(value, most)
    except UnicodeEncodeError:
        yield "invalid_value", "holds half of a surrogate pair (`\\ud800`)", at
        return
    except ValueError:
        return
    except RecursionError:
        is_deep = True
    if is_deep:
        yield "invalid_value", f"is nested deeper than {most} levels", at


def _slot(message: Message, at: str) -> Iterator[FieldProblem]:
    if message.role != "assistant":
        yield "invalid_value", "only an assistant's turn is generated", f"{at}.generate"
    for name in ("content", "tool_calls", "reasoning", "reasoning_content"):
        if getattr(message, name) not in (UNSET, None):
            yield "invalid_value", "the model will say it: leave it out", f"{at}.{name}"
    yield from _shapes(message, at)


def _shapes(holder: Any, at: str) -> Iterator[FieldProblem]:
    """Yield what is wrong with the tools and formats of a body or a slot."""
    given = {name: getattr(holder, name) for name in _GENERATED}
    given = {name: value for name, value in given.items() if value not in (UNSET, None)}
    if given:
        yield from _tools(given.get("tools"), given.get("tool_choice"), at)
        yield from _formats(given, at)


def _tools(tools: Any, choice: Any, at: str) -> Iterator[FieldProblem]:
    names = [tool.function.name for tool in tools or ()]
    if len({*names}) < len(names):
        yield "invalid_value", "two tools have one name", f"{at}.tools"
    for index, tool in enumerate(tools or ()):
        where = f"{at}.tools[{index}].function.parameters"
        yield from _schema(tool.function.parameters, where)
    if choice in (None, "none"):
        return
    if tools is None:
        yield "invalid_value", "needs `tools`", f"{at}.tool_choice"
    elif (
        isinstance(choice, schema_types.NamedToolChoice)
        and choice.function.name not in names
    ):
        message = "names a function that is not in `tools`"
        yield "invalid_value", message, f"{at}.tool_choice.function.name"


def _formats(given: dict[str, Any], at: str) -> Iterator[FieldProblem]:
    wanted = given.get("response_format")
    if wanted is not None:
        yield from _response_format(wanted, f"{at}.response_format")
    structured = given.get("structured_outputs")
    if structured is None:
        return
    where = f"{at}.structured_outputs"
    if wanted is not None and wanted.type != "text":
        yield "invalid_value", "can't stand beside `response_format`", where
    if given.get("tool_choice", "auto") not in ("none", "auto"):
        yield "invalid_value", "can't stand beside a tool that must be called", where
    named = [n for n in structured.__struct_fields__ if getattr(structured, n) != UNSET]
    if len(named) != 1:
        kinds = ", ".join(structured.__struct_fields__)
        yield "invalid_value", f"must hold exactly one of {kinds}", where
    elif structured.json_object is False:
        yield "invalid_value", "must be true, or left out", f"{where}.json_object"
    else:
        yield from _schema(structured.json, f"{where}.json")


def _response_format(
    wanted: schema_types.ResponseFormat, at: str
) -> Iterator[FieldProblem]:
    if wanted.type != "json_schema":
        if wanted.json_schema is not UNSET:
            message = f"has no place beside the type `{wanted.type}`"
            yield "invalid_value", message, f"{at}.json_schema"
    elif wanted.json_schema is UNSET:
        yield "missing_required_parameter", "required", f"{at}.json_schema"
    elif wanted.json_schema.schema is UNSET:
        yield "missing_required_parameter", "required", f"{at}.json_schema.schema"
    else:
        yield from _schema(wanted.json_schema.schema, f"{at}.json_schema.schema")


def _schema(schema: Any, at: str) -> Iterator[FieldProblem]:
    """Yield why a schema is too much for a grammar's compiler."""
    if not isinstance(schema, dict):
        return
    size = len(msgspec.json.encode(schema))
    if size > schema_types.MAX_SCHEMA_BYTES:
        message = f"has {size:,} bytes, and may have {schema_types.MAX_SCHEMA_BYTES:,}"
        yield "invalid_value", message, at
    elif _is_deeper(schema, schema_types.MAX_SCHEMA_DEPTH):
        message = f"is nested deeper than {schema_types.MAX_SCHEMA_DEPTH} levels"
        yield "invalid_value", message, at


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return not levels or any(_is_deeper(item, levels - 1) for item in inner)


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
