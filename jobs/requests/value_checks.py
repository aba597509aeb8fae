"""Says what is wrong with one value of a line, by its kind in the table of parameters.

A value that comes from a user is never repeated whole.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from batchchat.jobs.requests import parameters
from batchchat.jobs.requests.parameters import Parameter

_AT = re.compile(r" - at `\$?(?:\[\.\.\.\])?\.?(?P<path>[^`]*)`$")
"""Where msgspec says that something is wrong."""

_FIELD = re.compile(r" field `(?P<name>.*)`$", re.DOTALL)

_TOKEN = re.compile(r"0|[1-9][0-9]{0,8}")

FieldProblem = tuple[str, str, str | None]
"""A problem without its line: code, message, param."""


class Object(dict[str, Any]):
    """A JSON object that remembers which keys stood in it twice."""

    duplicate_keys: tuple[str, ...] = ()


def duplicate_key_problems(value: Object, at: str) -> Iterator[FieldProblem]:
    """Yield the keys that stand twice in an object."""
    for name in value.duplicate_keys:
        yield "duplicate_key", "the key stands twice in one object", f"{at}{name[:80]}"


def parameter_problems(
    parameter: Parameter, value: Any, at: str
) -> Iterator[FieldProblem]:
    """Check a field of the body by its row in the table."""
    checks: dict[str, Callable[[Parameter, Any, str], Iterator[FieldProblem]]] = {
        "number": _number,
        "integer": _integer,
        "boolean": _boolean,
        "string": _any_string,
        "stop": _stop,
        "integers": _list_of(_integer),
        "strings": _list_of(_word),
        "logit_bias": _logit_bias,
        "metadata": _metadata,
        "anything": lambda *_: iter(()),
        "typed": lambda parameter, value, at: type_problems(
            parameter.value_type, value, at
        ),
    }
    return checks[parameter.kind](parameter, value, at)


def type_problems(shape: Any, value: Any, at: str) -> Iterator[FieldProblem]:
    """Check an object against its type, which names the first thing wrong."""
    inner = list(_nested_problems(value, at))
    yield from inner
    if inner:
        return
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        code, message, path = _translated(str(error))
        joint = "." if path and not path.startswith("[") else ""
        yield code, message, f"{at}{joint}{path}"


def _translated(text: str) -> tuple[str, str, str]:
    """Return what msgspec says: a code, a message without a user's words, a path."""
    where = _AT.search(text)
    path = where["path"] if where else ""
    reason = _AT.sub("", text)
    name = _FIELD.search(reason)
    if name is not None:
        path = f"{path}.{name['name'][:80]}" if path else name["name"][:80]
        if reason.startswith("Object contains"):
            return "unknown_parameter", "unknown field", path
        return "missing_required_parameter", "required", path
    if reason.startswith("Invalid enum value"):
        return "invalid_value", "none of the values that it may have", path
    code = "invalid_type" if ", got `" in reason else "invalid_value"
    return code, reason[:1].lower() + reason[1:], path


def _nested_problems(value: Any, at: str) -> Iterator[FieldProblem]:
    """Look through a value for keys that stand twice and halves of pairs."""
    if isinstance(value, Object):
        yield from duplicate_key_problems(value, f"{at}.")
        for name, inner in value.items():
            yield from unicode_problems(name, at)
            yield from _nested_problems(inner, f"{at}.{name[:80]}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _nested_problems(inner, f"{at}[{index}]")
    elif isinstance(value, str):
        yield from unicode_problems(value, at)


def _number(parameter: Parameter, value: Any, at: str) -> Iterator[FieldProblem]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield "invalid_type", expected("a number", value), at
    elif not parameter.contains(value):
        yield "invalid_value", f"must be {parameter.describe_range()}", at


def _integer(parameter: Parameter, value: Any, at: str) -> Iterator[FieldProblem]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield "invalid_type", expected("an integer", value), at
    elif not parameter.contains(value):
        yield "invalid_value", f"must be {parameter.describe_range()}", at


def _boolean(_: Parameter, value: Any, at: str) -> Iterator[FieldProblem]:
    if not isinstance(value, bool):
        yield "invalid_type", expected("true or false", value), at


def _any_string(_: Parameter, value: Any, at: str) -> Iterator[FieldProblem]:
    return text_problems(value, at, parameters.MAX_STRING_CHARS, min_chars=0)


def _word(_: Parameter, value: Any, at: str) -> Iterator[FieldProblem]:
    return text_problems(value, at, parameters.MAX_STRING_CHARS)


def _stop(parameter: Parameter, value: Any, at: str) -> Iterator[FieldProblem]:
    if isinstance(value, list):
        return _list_of(_word)(parameter, value, at)
    return _word(parameter, value, at)


def _list_of(
    check: Callable[[Parameter, Any, str], Iterator[FieldProblem]],
) -> Callable[[Parameter, Any, str], Iterator[FieldProblem]]:
    def check_list(parameter: Parameter, value: Any, at: str) -> Iterator[FieldProblem]:
        if not isinstance(value, list):
            yield "invalid_type", expected("an array", value), at
        elif len(value) > parameter.max_items:
            yield "invalid_value", f"may have up to {parameter.max_items} items", at
        elif len(value) < parameter.min_items:
            message = f"must have at least {parameter.min_items} item; or leave it out"
            yield "invalid_value", message, at
        else:
            for index, item in enumerate(value):
                yield from check(parameter, item, f"{at}[{index}]")

    return check_list


def _logit_bias(parameter: Parameter, value: Any, at: str) -> Iterator[FieldProblem]:
    if not isinstance(value, Object):
        yield "invalid_type", expected("an object", value), at
        return
    yield from duplicate_key_problems(value, f"{at}.")
    if len(value) > parameter.max_items:
        yield "invalid_value", f"may have up to {parameter.max_items} tokens", at
    for token, bias in value.items():
        param = f"{at}.{token[:20]}"
        if not _TOKEN.fullmatch(token):
            yield "invalid_value", "must be a token id in decimal digits", param
        else:
            yield from _number(parameter, bias, param)


def _metadata(parameter: Parameter, value: Any, at: str) -> Iterator[FieldProblem]:
    if not isinstance(value, Object):
        yield "invalid_type", expected("an object", value), at
        return
    yield from duplicate_key_problems(value, f"{at}.")
    if len(value) > parameter.max_items:
        yield "invalid_value", f"may have up to {parameter.max_items} pairs", at
    for key, text in value.items():
        yield from text_problems(
            key, f"{at}.{key[:80]}", parameters.MAX_STRING_CHARS, min_chars=0
        )
        yield from text_problems(
            text, f"{at}.{key[:80]}", parameters.MAX_STRING_CHARS, min_chars=0
        )


def text_problems(
    value: Any, at: str, max_chars: int, *, min_chars: int = 1
) -> Iterator[FieldProblem]:
    """Check a string that has bounds to its length."""
    yield from string_problems(value, at)
    if isinstance(value, str) and not min_chars <= len(value) <= max_chars:
        yield "invalid_value", f"must have {min_chars} to {max_chars} characters", at


def string_problems(value: Any, at: str) -> Iterator[FieldProblem]:
    """Check that it is a string, of whole characters."""
    if isinstance(value, str):
        yield from unicode_problems(value, at)
    else:
        yield "invalid_type", expected("a string", value), at


def unicode_problems(value: str, at: str) -> Iterator[FieldProblem]:
    """Check that a string is of whole characters."""
    if not is_valid_text(value):
        yield "invalid_value", "holds half of a surrogate pair (`\\ud800`)", at


def is_valid_text(value: Any) -> bool:
    """Say whether it is a string that can be written."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def expected(what: str, value: Any) -> str:
    """Say what there should be, and what there is."""
    return f"expected {what}, got {describe(value)}"


def describe(value: Any) -> str:
    """Name a value as JSON does, short ones with what they are."""
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
