"""Compares a JSON value with a type of the decoder and reports every difference.

The decoder stops at the first problem and describes it in its own words. This module
walks the same types, as `msgspec.inspect` describes them, so the two agree on what is
valid. A message never repeats a text that came from a user.
"""

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from types import NoneType
from typing import Any

from msgspec import inspect

from batchchat.jobs.requests.extra_fields import EXTRA_FIELDS
from batchchat.jobs.requests.json_value import JsonObject
from batchchat.jobs.requests.parameters import describe_range
from batchchat.jobs.requests.schema import (
    ANSWER_FIELDS,
    Body,
    BodyLine,
    Envelope,
    Message,
)

FieldProblem = tuple[str, str, str]
"""A problem without its line: code, message, param."""

_TOO_LONG, _TOO_SHORT = (
    {
        "characters": "string_above_max_length",
        "items": "array_above_max_length",
        "entries": "object_above_max_properties",
    },
    {
        "characters": "string_below_min_length",
        "items": "empty_array",
        "entries": "object_below_min_properties",
    },
)
"""OpenAI's codes, by the unit of the length; no array needs more than one item."""

_MAX_NAME_CHARS = 80
"""Longer names of fields are cut in `param`."""

_TOP_LEVEL = {Envelope, Body, BodyLine}
"""Objects whose unsupported fields are explained."""

_KINDS: dict[type[inspect.Type], tuple[str, Any]] = {
    inspect.NoneType: ("null", NoneType),
    inspect.BoolType: ("true or false", bool),
    inspect.IntType: ("an integer", int),
    inspect.FloatType: ("a number", int | float),
    inspect.StrType: ("a string", str),
    inspect.LiteralType: ("a string", str),
    inspect.ListType: ("an array", list),
    inspect.DictType: ("an object", dict),
    inspect.StructType: ("an object", dict),
}
"""The JSON kind of a type: its name, and the Python class of its values."""


def type_problems(
    expected: inspect.Type, value: Any, at: str
) -> Iterator[FieldProblem]:
    """Yield all differences between `value`, which is the field `at`, and a type."""
    if isinstance(expected, inspect.Metadata):
        yield from _described(expected, value, at)
    elif isinstance(expected, inspect.UnionType):
        matching = [member for member in expected.types if _has_kind(member, value)]
        if matching:
            yield from type_problems(matching[0], value, at)
        else:
            yield _wrong_kind(expected.types, value, at)
    elif isinstance(expected, inspect.LiteralType):
        if value not in expected.values:
            allowed = ", ".join(f"`{one}`" for one in expected.values)
            one_of = "one of " if len(expected.values) > 1 else ""
            yield "invalid_value", f"must be {one_of}{allowed}", at
    elif not _has_kind(expected, value):
        yield _wrong_kind((expected,), value, at)
    elif type(expected) in _CHECKS:
        yield from _CHECKS[type(expected)](expected, value, at)


def missing_content(at: str, *, missing: bool) -> FieldProblem:
    """Return the problem of a message without content and without a substitute."""
    if missing:
        return "missing_required_parameter", "required", at
    return "invalid_type", "expected a string or an array, got null", at


def is_valid_text(value: Any) -> bool:
    """Return whether `value` is a string without unpaired surrogates."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def describe(value: Any) -> str:
    """Return what kind of JSON value it is; numbers and booleans are quoted."""
    match value:
        case None:
            return "null"
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"the number `{str(value)[:20]}`"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def _has_kind(expected: inspect.Type, value: Any) -> bool:
    if isinstance(expected, inspect.AnyType):
        return True
    _, kind = _KINDS[type(expected)]
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _wrong_kind(
    expected: tuple[inspect.Type, ...], value: Any, at: str
) -> FieldProblem:
    names = dict.fromkeys(_KINDS[type(one)][0] for one in expected)
    if len(names) > 1:
        names.pop("null", None)
    message = f"expected {' or '.join(names)}, got {describe(value)}"
    return "invalid_type", message, at


def _described(
    expected: inspect.Metadata, value: Any, at: str
) -> Iterator[FieldProblem]:
    """Yield the problems of a type that says by itself what it accepts."""
    for code, message, param in type_problems(expected.type, value, at):
        reason = (expected.extra_json_schema or {}).get("description", message)
        yield code, message if code == "invalid_type" else reason, param


def _string(expected: inspect.StrType, value: str, at: str) -> Iterator[FieldProblem]:
    yield from _unicode(value, at)
    yield from _length(expected, value, "characters", at)
    if expected.pattern is not None and not re.search(expected.pattern, value):
        yield "invalid_value", f"must match `{expected.pattern}`", at


def _number(
    expected: inspect.IntType | inspect.FloatType, value: float, at: str
) -> Iterator[FieldProblem]:
    low, above, high = expected.ge, expected.gt, expected.le
    kind = "integer" if isinstance(expected, inspect.IntType) else "decimal"
    message = f"must be {describe_range(low, above, high)}"
    if (low is not None and value < low) or (above is not None and value <= above):
        yield f"{kind}_below_min_value", message, at
    elif high is not None and value > high:
        yield f"{kind}_above_max_value", message, at


def _array(
    expected: inspect.ListType, value: list[Any], at: str
) -> Iterator[FieldProblem]:
    problems = [*_length(expected, value, "items", at)]
    yield from problems
    if not problems:
        for index, item in enumerate(value):
            yield from type_problems(expected.item_type, item, f"{at}[{index}]")


def _mapping(
    expected: inspect.DictType, value: JsonObject, at: str
) -> Iterator[FieldProblem]:
    yield from _duplicate_keys(value, at)
    problems = [*_length(expected, value, "entries", at)]
    yield from problems
    if not problems:
        for key, item in value.items():
            yield from type_problems(expected.key_type, key, _joined(at, key))
            yield from type_problems(expected.value_type, item, _joined(at, key))


def _struct(
    expected: inspect.StructType, value: JsonObject, at: str
) -> Iterator[FieldProblem]:
    yield from _duplicate_keys(value, at)
    fields = {field.encode_name: field for field in expected.fields}
    if "type" in fields and "type" in value:
        type_at = _joined(at, "type")
        wrong_type = [*type_problems(fields["type"].type, value["type"], type_at)]
        if wrong_type:  # the fields of another type of object can't be judged
            yield from wrong_type
            return
    yield from _unknown_fields(expected, value, at)
    for name, field in fields.items():
        if name in value and not _reason_against(expected.cls, name):
            yield from type_problems(field.type, value[name], _joined(at, name))
        elif field.required and name not in value:
            yield "missing_required_parameter", "required", _joined(at, name)
    if expected.cls is Message and not _may_lack_content(value):
        yield missing_content(f"{at}.content", missing="content" not in value)


def _may_lack_content(message: JsonObject) -> bool:
    """Return whether a message has content, or need not have any."""
    return (
        message.get("content") is not None
        or ("content" in message and message.get("role") == "assistant")
        or any(message.get(name) for name in ("generate", *ANSWER_FIELDS))
    )


def _unknown_fields(
    struct: inspect.StructType, value: JsonObject, at: str
) -> Iterator[FieldProblem]:
    known = [field.encode_name for field in struct.fields]
    for name in value:
        reason = _reason_against(struct.cls, name)
        if reason:
            message = f"not supported: {reason}"
            yield "unsupported_parameter", message, _joined(at, name)
        elif name not in known:
            near = get_close_matches(name[:_MAX_NAME_CHARS], known, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            yield "unknown_parameter", f"unknown field{hint}", _joined(at, name)


def _reason_against(struct: type, name: str) -> str | None:
    """Return why a field of an object is rejected, None if it is unknown."""
    extra = EXTRA_FIELDS.get(Body if struct in _TOP_LEVEL else struct, {}).get(name)
    return extra.reason if extra else None


def _anything(_: inspect.AnyType, value: Any, at: str) -> Iterator[FieldProblem]:
    """Yield duplicate keys and invalid texts at any depth, without recursion."""
    pending = [(value, at)]
    while pending:
        value, at = pending.pop()
        if isinstance(value, JsonObject):
            yield from _duplicate_keys(value, at)
            for key in value:
                yield from _unicode(key, _joined(at, key))
            pending += [(item, _joined(at, key)) for key, item in value.items()]
        elif isinstance(value, list):
            pending += [(item, f"{at}[{index}]") for index, item in enumerate(value)]
        elif isinstance(value, str):
            yield from _unicode(value, at)


def _unicode(value: str, at: str) -> Iterator[FieldProblem]:
    if not is_valid_text(value):
        yield "invalid_value", "has an unpaired surrogate (such as `\\ud800`)", at


def _duplicate_keys(value: JsonObject, at: str) -> Iterator[FieldProblem]:
    for name in value.duplicate_keys:
        message = "the key appears more than once in the object"
        yield "duplicate_key", message, _joined(at, name)


def _length(
    expected: inspect.StrType | inspect.ListType | inspect.DictType,
    value: str | list[Any] | JsonObject,
    unit: str,
    at: str,
) -> Iterator[FieldProblem]:
    low, high = expected.min_length or 0, expected.max_length
    message = f"must have {describe_range(low or None, None, high)} {unit}"
    if len(value) < low:
        yield _TOO_SHORT[unit], message, at
    elif high is not None and len(value) > high:
        yield _TOO_LONG[unit], message, at


def _joined(at: str, name: str) -> str:
    return f"{at}.{name[:_MAX_NAME_CHARS]}" if at else name[:_MAX_NAME_CHARS]


_CHECKS: dict[type[inspect.Type], Callable[[Any, Any, str], Iterator[FieldProblem]]] = {
    inspect.AnyType: _anything,
    inspect.StrType: _string,
    inspect.IntType: _number,
    inspect.FloatType: _number,
    inspect.ListType: _array,
    inspect.DictType: _mapping,
    inspect.StructType: _struct,
}
