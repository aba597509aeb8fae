"""Rules that no type of a single field can express."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from batchchat.jobs.requests import schema_types
from batchchat.jobs.requests.json_schemas import SchemaProblem, find_backend
from batchchat.jobs.requests.regex_syntax import regex_problem
from batchchat.jobs.requests.schema import ANSWER_FIELDS, Message, Request
from batchchat.jobs.requests.type_checks import FieldProblem, missing_content

_OVERRIDES = ("tools", "tool_choice", "response_format", "structured_outputs")
"""Fields with which a generated turn overrides the body."""


def cross_field_problems(request: Request) -> Iterator[FieldProblem]:
    """Yield the problems of fields that contradict each other."""
    yield from _number_problems(request)
    yield from _conversation_problems(request)
    yield from _constraint_problems(request.body, "")


def _number_problems(request: Request) -> Iterator[FieldProblem]:
    parameter = request.parameter
    choices = parameter("n") or 1
    if choices > 1 and parameter("temperature") == 0:
        message = "must be 1 if `temperature` is 0: all choices would be identical"
        yield "invalid_value", message, "n"
    if parameter("top_logprobs") and not parameter("logprobs"):
        yield "invalid_value", "requires `logprobs` to be true", "top_logprobs"
    limit = _first(parameter("max_completion_tokens"), parameter("max_tokens"))
    if limit is not None and (parameter("min_tokens") or 0) > limit:
        message = f"must be at most the token limit, {limit}"
        yield "invalid_value", message, "min_tokens"
    if choices > 1 and any(turn.is_generated_turn for turn in request.body.messages):
        message = "must be 1 with generated turns, which continue one answer"
        yield "invalid_value", message, "n"


def _conversation_problems(request: Request) -> Iterator[FieldProblem]:
    for index, message in enumerate(request.body.messages):
        if not message.is_text_only:
            yield from _message_problems(message, f"messages[{index}]")


def _message_problems(message: Message, at: str) -> Iterator[FieldProblem]:
    """Yield the problems of a message that is not text only."""
    if message.generate is False:
        yield "invalid_value", "must be true or omitted", f"{at}.generate"
    elif message.generate is True:
        yield from _generated_turn_problems(message, at)
        return
    for name in _OVERRIDES:
        if getattr(message, name) is not UNSET:
            text = "requires `generate: true`; or set it in the body"
            yield "invalid_value", text, f"{at}.{name}"
    if message.role != "assistant":
        for name in ANSWER_FIELDS:
            if getattr(message, name):
                text = "allowed for the role `assistant` only"
                yield "invalid_value", text, f"{at}.{name}"
    if message.content in (UNSET, None) and not message.has_more_than_content:
        yield missing_content(f"{at}.content", missing=message.content is UNSET)
    for index, call in enumerate(message.calls):
        where = f"{at}.tool_calls[{index}].function.arguments"
        yield from _argument_problems(call.function.arguments, where)


def _argument_problems(text: str | dict[str, Any], at: str) -> Iterator[FieldProblem]:
    """Yield why a template can't render arguments; it can if they are not JSON."""
    limit = schema_types.MAX_ARGUMENTS_DEPTH
    try:
        value = json.loads(text or "{}") if isinstance(text, str) else text
        json.dumps(value, ensure_ascii=False).encode()
        is_deep = _is_deeper_than(value, limit)
    except UnicodeEncodeError:
        yield "invalid_value", "has an unpaired surrogate (such as `\\ud800`)", at
        return
    except ValueError:
        return
    except RecursionError:
        is_deep = True
    if is_deep:
        yield "invalid_value", f"is nested deeper than {limit} levels", at


def _generated_turn_problems(message: Message, at: str) -> Iterator[FieldProblem]:
    if message.role != "assistant":
        yield "invalid_value", "allowed for the role `assistant` only", f"{at}.generate"
    for name in ("content", *ANSWER_FIELDS):
        if getattr(message, name) not in (UNSET, None):
            yield "invalid_value", "must be omitted on a generated turn", f"{at}.{name}"
    yield from _constraint_problems(message, f"{at}.")


def _constraint_problems(holder: Any, at: str) -> Iterator[FieldProblem]:
    """Yield the problems of the tools and formats of a body or a generated turn.

    `at` is the prefix of its fields.
    """
    fields = {name: getattr(holder, name) for name in _OVERRIDES}
    fields = {
        name: value for name, value in fields.items() if value not in (UNSET, None)
    }
    if fields:
        yield from _tool_problems(fields.get("tools"), fields.get("tool_choice"), at)
        yield from _format_problems(fields, at)


def _tool_problems(tools: Any, choice: Any, at: str) -> Iterator[FieldProblem]:
    names = [tool.function.name for tool in tools or ()]
    if len({*names}) < len(names):
        yield "invalid_value", "two tools have the same name", f"{at}tools"
    for index, tool in enumerate(tools or ()):
        where = f"{at}tools[{index}].function.parameters"
        yield from _schema_problems(
            tool.function.parameters,
            where,
            is_enforced=_must_call(choice, tool.function),
        )
    if choice in (None, "none"):
        return
    if tools is None:
        yield "invalid_value", "requires `tools`", f"{at}tool_choice"
    elif (
        isinstance(choice, schema_types.NamedToolChoice)
        and choice.function.name not in names
    ):
        message = "names a function that is not in `tools`"
        yield "invalid_value", message, f"{at}tool_choice.function.name"


def _format_problems(fields: dict[str, Any], at: str) -> Iterator[FieldProblem]:
    response_format = fields.get("response_format")
    if response_format is not None:
        yield from _response_format_problems(response_format, f"{at}response_format")
    structured = fields.get("structured_outputs")
    if structured is None:
        return
    where = f"{at}structured_outputs"
    if response_format is not None and response_format.type != "text":
        yield "invalid_value", "can't be combined with `response_format`", where
    if fields.get("tool_choice", "auto") not in ("none", "auto"):
        yield "invalid_value", "can't be combined with a required tool call", where
    named = [n for n in structured.__struct_fields__ if getattr(structured, n) != UNSET]
    if len(named) != 1:
        kinds = ", ".join(structured.__struct_fields__)
        yield "invalid_value", f"must hold exactly one of {kinds}", where
    elif structured.json_object is False:
        yield "invalid_value", "must be true or omitted", f"{where}.json_object"
    else:
        yield from _schema_problems(structured.json, f"{where}.json")
        if structured.regex and (wrong := regex_problem(structured.regex)):
            message = f"is not a valid regular expression: {wrong}"
            yield "invalid_value", message, f"{where}.regex"


def _response_format_problems(
    response_format: schema_types.ResponseFormat, at: str
) -> Iterator[FieldProblem]:
    if response_format.type != "json_schema":
        if response_format.json_schema is not UNSET:
            message = f"is not allowed if `type` is `{response_format.type}`"
            yield "invalid_value", message, f"{at}.json_schema"
    elif not response_format.json_schema:
        yield "missing_required_parameter", "required", f"{at}.json_schema"
    elif not isinstance(response_format.json_schema.schema, dict):
        yield "missing_required_parameter", "required", f"{at}.json_schema.schema"
    else:
        yield from _schema_problems(
            response_format.json_schema.schema, f"{at}.json_schema.schema"
        )


def _must_call(choice: Any, function: schema_types.Function) -> bool:
    """Return whether answers must be calls of a function, with strict arguments."""
    if isinstance(choice, schema_types.NamedToolChoice):
        is_chosen = choice.function.name == function.name
    else:
        is_chosen = choice == "required"
    return is_chosen and function.strict is True


def _schema_problems(
    schema: Any, at: str, *, is_enforced: bool = True
) -> Iterator[FieldProblem]:
    """Yield why a schema is too large, or cannot be enforced if it has to be."""
    if not isinstance(schema, dict):
        return
    size = len(msgspec.json.encode(schema))
    if size > schema_types.MAX_SCHEMA_BYTES:
        message = f"has {size:,} bytes; the limit is {schema_types.MAX_SCHEMA_BYTES:,}"
        yield "invalid_value", message, at
    elif _is_deeper_than(schema, schema_types.MAX_SCHEMA_DEPTH):
        message = f"is nested deeper than {schema_types.MAX_SCHEMA_DEPTH} levels"
        yield "invalid_value", message, at
    elif is_enforced and isinstance(found := find_backend(schema), SchemaProblem):
        yield "invalid_value", found.message, f"{at}{found.path}"


def _is_deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return not levels or any(_is_deeper_than(item, levels - 1) for item in inner)


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
