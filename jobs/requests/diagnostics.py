"""Says everything that is wrong with a line that the typed decoder refused.

Slow and thorough: it walks the plain JSON value and looks each field up in the
table of parameters. A value that comes from a user is never repeated whole.
"""

import json
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice
from math import isfinite
from typing import Any, Never

import msgspec

from batchchat.jobs.requests import parameters
from batchchat.jobs.requests.parameters import PARAMETERS, UNSUPPORTED_FIELDS
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.requests.schema import ENDPOINT, Message, default_custom_id
from batchchat.jobs.requests.value_checks import (
    FieldProblem,
    Object,
    describe,
    duplicate_key_problems,
    expected,
    is_valid_text,
    parameter_problems,
    string_problems,
    text_problems,
    type_problems,
    unicode_problems,
)

_LINE_FIELDS = ("custom_id", "method", "url", "body")
_MESSAGE_FIELDS = Message.__struct_fields__
_WALKED = ("role", "content", "name", "tool_call_id")
"""Fields of a message that are looked at one by one."""

_TYPED_FIELDS = {
    field.name: field.type
    for field in msgspec.structs.fields(Message)
    if field.name not in _WALKED
}
_BODY_FIELDS = ("model", "messages", *PARAMETERS)

_MAX_PROBLEMS_PER_LINE = 100
"""Problems that are named for one line."""


class _NotJsonError(Exception):
    """The text is no JSON that we take; the argument says why."""


def find_problems(raw: bytes, line: int) -> tuple[str | None, list[Problem]]:
    """Return the line's custom_id, where it has one, and all that is wrong.

    An empty list means that nothing is.
    """
    try:
        value = _read(raw)
    except _NotJsonError as error:
        return None, [Problem("invalid_json_line", line, str(error))]
    problems = [
        Problem(code, line, text, _writable(param))
        for code, text, param in islice(_line(value), _MAX_PROBLEMS_PER_LINE)
    ]
    return _custom_id_of(value, line), problems


def _custom_id_of(value: Any, line: int) -> str | None:
    if not isinstance(value, Object):
        return None
    default = default_custom_id(line) if _is_bare(value) else None
    custom_id = value.get("custom_id", default)
    return custom_id if is_valid_text(custom_id) else None


def _is_bare(value: Object) -> bool:
    """Say whether it is a body alone."""
    return "body" not in value and "messages" in value and "url" not in value


def _read(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"not UTF-8: byte {error.start + 1} can't be decoded"
        raise _NotJsonError(reason) from None
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise _NotJsonError("not usable JSON: nested too deeply") from None
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg} at column {error.colno}"
        raise _NotJsonError(reason) from None
    except ValueError:  # an integer of more digits than Python converts
        raise _NotJsonError("not usable JSON: a number is too long") from None


def _object(pairs: list[tuple[str, Any]]) -> Object:
    value = Object(pairs)
    if len(value) < len(pairs):
        times = Counter(name for name, _ in pairs)
        value.duplicate_keys = tuple(sorted(name for name in times if times[name] > 1))
    return value


def _refuse_constant(name: str) -> Never:
    message = f"not JSON: {name} is no JSON number"
    raise _NotJsonError(message)


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        message = f"not usable JSON: the number {digits[:20]} is too large"
        raise _NotJsonError(message)
    return number


def _line(value: Any) -> Iterator[FieldProblem]:
    if not isinstance(value, Object):
        yield "invalid_request", f"expected an object, got {describe(value)}", None
        return
    if _is_bare(value):
        yield from _custom_id(value, required=False)
        yield from _body(value, "", (*_BODY_FIELDS, "custom_id"))
        return
    yield from duplicate_key_problems(value, "")
    yield from _custom_id(value, required=True)
    yield from _method_and_url(value)
    yield from _unknown(value, _LINE_FIELDS, "")
    if "body" not in value:
        yield "missing_required_parameter", "required", "body"
    elif not isinstance(value["body"], Object):
        yield "invalid_type", expected("an object", value["body"]), "body"
    else:
        yield from _body(value["body"], "body.", _BODY_FIELDS)


def _custom_id(value: Object, *, required: bool) -> Iterator[FieldProblem]:
    if "custom_id" not in value:
        if required:
            yield "missing_required_parameter", "required", "custom_id"
        return
    yield from text_problems(
        value["custom_id"], "custom_id", parameters.MAX_CUSTOM_ID_CHARS
    )


def _method_and_url(value: Object) -> Iterator[FieldProblem]:
    for name, only, code in (
        ("method", "POST", "invalid_method"),
        ("url", ENDPOINT, "invalid_url"),
    ):
        if name not in value:
            yield "missing_required_parameter", "required", name
        elif value[name] != only:
            yield code, f"must be `{only}`", name


def _body(body: Object, at: str, known: tuple[str, ...]) -> Iterator[FieldProblem]:
    yield from duplicate_key_problems(body, at)
    yield from _unknown(body, known, at)
    if "messages" not in body:
        yield "missing_required_parameter", "required", f"{at}messages"
    else:
        yield from _messages(body["messages"], f"{at}messages")
    if body.get("model") is not None:
        yield from string_problems(body["model"], f"{at}model")
    for name, value in body.items():
        if name in PARAMETERS and value is not None:
            yield from parameter_problems(PARAMETERS[name], value, f"{at}{name}")


def _unknown(value: Object, known: tuple[str, ...], at: str) -> Iterator[FieldProblem]:
    for name in value:
        if name in known:
            continue
        param = f"{at}{name[:80]}"
        if name in UNSUPPORTED_FIELDS and known is not _MESSAGE_FIELDS:
            yield (
                "unsupported_parameter",
                f"not supported: {UNSUPPORTED_FIELDS[name]}",
                param,
            )
        else:
            near = get_close_matches(name[:80], known, n=1)
            meant = f"; did you mean `{near[0]}`?" if near else ""
            yield "unknown_parameter", f"unknown field{meant}", param


def _messages(value: Any, at: str) -> Iterator[FieldProblem]:
    if not isinstance(value, list):
        yield "invalid_type", expected("an array", value), at
    elif not value:
        yield "invalid_value", "must hold at least one message", at
    elif len(value) > parameters.MAX_MESSAGES:
        yield "invalid_value", f"has over {parameters.MAX_MESSAGES:,} messages", at
    else:
        for index, message in enumerate(value):
            yield from _message(message, f"{at}[{index}]")


def _message(value: Any, at: str) -> Iterator[FieldProblem]:
    if not isinstance(value, Object):
        yield "invalid_type", expected("an object", value), at
        return
    yield from duplicate_key_problems(value, f"{at}.")
    yield from _unknown(value, _MESSAGE_FIELDS, f"{at}.")
    if "role" not in value:
        yield "missing_required_parameter", "required", f"{at}.role"
    elif value["role"] not in parameters.ROLES:
        roles = ", ".join(parameters.ROLES)
        yield "invalid_value", f"must be one of {roles}", f"{at}.role"
    if value.get("content") is not None:
        yield from _content(value["content"], f"{at}.content")
    elif not (value.get("tool_calls") or value.get("generate")):
        yield missing_content(f"{at}.content", missing="content" not in value)
    for name in ("name", "tool_call_id"):
        if name in value:
            yield from text_problems(
                value[name], f"{at}.{name}", parameters.MAX_STRING_CHARS, min_chars=0
            )
    for name, shape in _TYPED_FIELDS.items():
        if name in value:
            yield from type_problems(shape, value[name], f"{at}.{name}")


def missing_content(at: str, *, missing: bool) -> tuple[str, str, str]:
    """Return the problem of a turn without content that has nothing in its place."""
    if missing:
        return "missing_required_parameter", "required", at
    return "invalid_type", expected("a string or text parts", None), at


def _content(value: Any, at: str) -> Iterator[FieldProblem]:
    if isinstance(value, str):
        yield from unicode_problems(value, at)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _part(part, f"{at}[{index}]")
    else:
        yield "invalid_type", expected("a string or text parts", value), at


def _part(value: Any, at: str) -> Iterator[FieldProblem]:
    if not isinstance(value, Object):
        yield "invalid_type", expected("an object", value), at
        return
    if value.get("type") != "text":
        yield "invalid_value", "must be `text`: only text is taken", f"{at}.type"
        return
    yield from duplicate_key_problems(value, f"{at}.")
    yield from _unknown(value, ("type", "text"), f"{at}.")
    yield from string_problems(value.get("text"), f"{at}.text")


def _writable(param: str | None) -> str | None:
    """Return a field's name without halves of surrogate pairs."""
    return param and param.encode(errors="backslashreplace").decode()
