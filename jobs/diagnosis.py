"""Says everything that is wrong with a line that the typed decoder refused.

Slow and thorough: it walks the plain JSON value and looks each field up in the
table of parameters. A value that comes from a user is never repeated whole.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from itertools import islice
from math import isfinite
from typing import Any, Never

import msgspec

from jobs import parameters
from jobs.parameters import PARAMETERS, REFUSED, Parameter
from jobs.problem import Problem
from jobs.request import ENDPOINT, Message, default_custom_id

_LINE_FIELDS = ("custom_id", "method", "url", "body")
_MESSAGE_FIELDS = Message.__struct_fields__
_WALKED = ("role", "content", "name", "tool_call_id")
"""Fields of a message that are looked at one by one."""

_SHAPED = {
    field.name: field.type
    for field in msgspec.structs.fields(Message)
    if field.name not in _WALKED
}
_AT = re.compile(r" - at `\$?(?:\[\.\.\.\])?\.?(?P<path>[^`]*)`$")
"""Where msgspec says that something is wrong."""

_FIELD = re.compile(r" field `(?P<name>.*)`$", re.DOTALL)

_BODY_FIELDS = ("model", "messages", *PARAMETERS)

_TOKEN = re.compile(r"0|[1-9][0-9]{0,8}")
_MOST = 100
"""Problems that are named for one line."""

Found = tuple[str, str, str | None]
"""A problem without its line: code, message, param."""


class _NotJsonError(Exception):
    """The text is no JSON that we take; the argument says why."""


class Object(dict[str, Any]):
    """A JSON object that remembers which keys stood in it twice."""

    doubled: tuple[str, ...] = ()


def diagnose(raw: bytes, line: int) -> tuple[str | None, list[Problem]]:
    """Return the line's custom_id, where it has one, and all that is wrong.

    An empty list means that nothing is.
    """
    try:
        value = _read(raw)
    except _NotJsonError as error:
        return None, [Problem("invalid_json_line", line, str(error))]
    problems = [
        Problem(code, line, text, _writable(param))
        for code, text, param in islice(_line(value), _MOST)
    ]
    return _custom_id_of(value, line), problems


def _custom_id_of(value: Any, line: int) -> str | None:
    if not isinstance(value, Object):
        return None
    default = default_custom_id(line) if _is_bare(value) else None
    custom_id = value.get("custom_id", default)
    return custom_id if _is_text(custom_id) else None


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
        value.doubled = tuple(sorted(name for name in times if times[name] > 1))
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


def _line(value: Any) -> Iterator[Found]:
    if not isinstance(value, Object):
        yield "invalid_request", f"expected an object, got {_kind(value)}", None
        return
    if _is_bare(value):
        yield from _custom_id(value, required=False)
        yield from _body(value, "", (*_BODY_FIELDS, "custom_id"))
        return
    yield from _doubled(value, "")
    yield from _custom_id(value, required=True)
    yield from _method_and_url(value)
    yield from _unknown(value, _LINE_FIELDS, "")
    if "body" not in value:
        yield "missing_required_parameter", "required", "body"
    elif not isinstance(value["body"], Object):
        yield "invalid_type", _expected("an object", value["body"]), "body"
    else:
        yield from _body(value["body"], "body.", _BODY_FIELDS)


def _custom_id(value: Object, *, required: bool) -> Iterator[Found]:
    if "custom_id" not in value:
        if required:
            yield "missing_required_parameter", "required", "custom_id"
        return
    yield from _text(value["custom_id"], "custom_id", parameters.MAX_CUSTOM_ID)


def _method_and_url(value: Object) -> Iterator[Found]:
    for name, only, code in (
        ("method", "POST", "invalid_method"),
        ("url", ENDPOINT, "invalid_url"),
    ):
        if name not in value:
            yield "missing_required_parameter", "required", name
        elif value[name] != only:
            yield code, f"must be `{only}`", name


def _body(body: Object, at: str, known: tuple[str, ...]) -> Iterator[Found]:
    yield from _doubled(body, at)
    yield from _unknown(body, known, at)
    if "messages" not in body:
        yield "missing_required_parameter", "required", f"{at}messages"
    else:
        yield from _messages(body["messages"], f"{at}messages")
    if body.get("model") is not None:
        yield from _string(body["model"], f"{at}model")
    for name, value in body.items():
        if name in PARAMETERS and value is not None:
            yield from _parameter(PARAMETERS[name], value, f"{at}{name}")


def _doubled(value: Object, at: str) -> Iterator[Found]:
    for name in value.doubled:
        yield "duplicate_key", "the key stands twice in one object", f"{at}{name[:80]}"


def _unknown(value: Object, known: tuple[str, ...], at: str) -> Iterator[Found]:
    for name in value:
        if name in known:
            continue
        param = f"{at}{name[:80]}"
        if name in REFUSED and known is not _MESSAGE_FIELDS:
            yield "unsupported_parameter", f"not supported: {REFUSED[name]}", param
        else:
            near = get_close_matches(name[:80], known, n=1)
            meant = f"; did you mean `{near[0]}`?" if near else ""
            yield "unknown_parameter", f"unknown field{meant}", param


def _messages(value: Any, at: str) -> Iterator[Found]:
    if not isinstance(value, list):
        yield "invalid_type", _expected("an array", value), at
    elif not value:
        yield "invalid_value", "must hold at least one message", at
    elif len(value) > parameters.MAX_MESSAGES:
        yield "invalid_value", f"has over {parameters.MAX_MESSAGES:,} messages", at
    else:
        for index, message in enumerate(value):
            yield from _message(message, f"{at}[{index}]")


def _message(value: Any, at: str) -> Iterator[Found]:
    if not isinstance(value, Object):
        yield "invalid_type", _expected("an object", value), at
        return
    yield from _doubled(value, f"{at}.")
    yield from _unknown(value, _MESSAGE_FIELDS, f"{at}.")
    if "role" not in value:
        yield "missing_required_parameter", "required", f"{at}.role"
    elif value["role"] not in parameters.ROLES:
        roles = ", ".join(parameters.ROLES)
        yield "invalid_value", f"must be one of {roles}", f"{at}.role"
    if value.get("content") is not None:
        yield from _content(value["content"], f"{at}.content")
    elif not (value.get("tool_calls") or value.get("generate")):
        yield no_content(f"{at}.content", missing="content" not in value)
    for name in ("name", "tool_call_id"):
        if name in value:
            yield from _text(
                value[name], f"{at}.{name}", parameters.MAX_STRING, least=0
            )
    for name, shape in _SHAPED.items():
        if name in value:
            yield from _shaped(shape, value[name], f"{at}.{name}")


def no_content(at: str, *, missing: bool) -> tuple[str, str, str]:
    """Return the problem of a turn without content that has nothing in its place."""
    if missing:
        return "missing_required_parameter", "required", at
    return "invalid_type", _expected("a string or text parts", None), at


def _content(value: Any, at: str) -> Iterator[Found]:
    if isinstance(value, str):
        yield from _unicode(value, at)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _part(part, f"{at}[{index}]")
    else:
        yield "invalid_type", _expected("a string or text parts", value), at


def _part(value: Any, at: str) -> Iterator[Found]:
    if not isinstance(value, Object):
        yield "invalid_type", _expected("an object", value), at
        return
    if value.get("type") != "text":
        yield "invalid_value", "must be `text`: only text is taken", f"{at}.type"
        return
    yield from _doubled(value, f"{at}.")
    yield from _unknown(value, ("type", "text"), f"{at}.")
    yield from _string(value.get("text"), f"{at}.text")


def _parameter(parameter: Parameter, value: Any, at: str) -> Iterator[Found]:
    checks: dict[str, Callable[[Parameter, Any, str], Iterator[Found]]] = {
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
        "shape": lambda parameter, value, at: _shaped(parameter.shape, value, at),
    }
    return checks[parameter.kind](parameter, value, at)


def _shaped(shape: Any, value: Any, at: str) -> Iterator[Found]:
    """Check an object against its type, which names the first thing wrong."""
    inner = list(_inner(value, at))
    yield from inner
    if inner:
        return
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        code, message, path = _said(str(error))
        joint = "." if path and not path.startswith("[") else ""
        yield code, message, f"{at}{joint}{path}"


def _said(text: str) -> tuple[str, str, str]:
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


def _inner(value: Any, at: str) -> Iterator[Found]:
    """Look through a value for keys that stand twice and halves of pairs."""
    if isinstance(value, Object):
        yield from _doubled(value, f"{at}.")
        for name, inner in value.items():
            yield from _unicode(name, at)
            yield from _inner(inner, f"{at}.{name[:80]}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _inner(inner, f"{at}[{index}]")
    elif isinstance(value, str):
        yield from _unicode(value, at)


def _number(parameter: Parameter, value: Any, at: str) -> Iterator[Found]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield "invalid_type", _expected("a number", value), at
    elif not parameter.contains(value):
        yield "invalid_value", f"must be {parameter.range()}", at


def _integer(parameter: Parameter, value: Any, at: str) -> Iterator[Found]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield "invalid_type", _expected("an integer", value), at
    elif not parameter.contains(value):
        yield "invalid_value", f"must be {parameter.range()}", at


def _boolean(_: Parameter, value: Any, at: str) -> Iterator[Found]:
    if not isinstance(value, bool):
        yield "invalid_type", _expected("true or false", value), at


def _any_string(_: Parameter, value: Any, at: str) -> Iterator[Found]:
    return _text(value, at, parameters.MAX_STRING, least=0)


def _word(_: Parameter, value: Any, at: str) -> Iterator[Found]:
    return _text(value, at, parameters.MAX_STRING)


def _stop(parameter: Parameter, value: Any, at: str) -> Iterator[Found]:
    if isinstance(value, list):
        return _list_of(_word)(parameter, value, at)
    return _word(parameter, value, at)


def _list_of(
    check: Callable[[Parameter, Any, str], Iterator[Found]],
) -> Callable[[Parameter, Any, str], Iterator[Found]]:
    def check_list(parameter: Parameter, value: Any, at: str) -> Iterator[Found]:
        if not isinstance(value, list):
            yield "invalid_type", _expected("an array", value), at
        elif len(value) > parameter.most:
            yield "invalid_value", f"may have up to {parameter.most} items", at
        elif len(value) < parameter.least:
            message = f"must have at least {parameter.least} item; or leave it out"
            yield "invalid_value", message, at
        else:
            for index, item in enumerate(value):
                yield from check(parameter, item, f"{at}[{index}]")

    return check_list


def _logit_bias(parameter: Parameter, value: Any, at: str) -> Iterator[Found]:
    if not isinstance(value, Object):
        yield "invalid_type", _expected("an object", value), at
        return
    yield from _doubled(value, f"{at}.")
    if len(value) > parameter.most:
        yield "invalid_value", f"may have up to {parameter.most} tokens", at
    for token, bias in value.items():
        param = f"{at}.{token[:20]}"
        if not _TOKEN.fullmatch(token):
            yield "invalid_value", "must be a token id in decimal digits", param
        else:
            yield from _number(parameter, bias, param)


def _metadata(parameter: Parameter, value: Any, at: str) -> Iterator[Found]:
    if not isinstance(value, Object):
        yield "invalid_type", _expected("an object", value), at
        return
    yield from _doubled(value, f"{at}.")
    if len(value) > parameter.most:
        yield "invalid_value", f"may have up to {parameter.most} pairs", at
    for key, text in value.items():
        yield from _text(key, f"{at}.{key[:80]}", parameters.MAX_STRING, least=0)
        yield from _text(text, f"{at}.{key[:80]}", parameters.MAX_STRING, least=0)


def _text(value: Any, at: str, most: int, *, least: int = 1) -> Iterator[Found]:
    yield from _string(value, at)
    if isinstance(value, str) and not least <= len(value) <= most:
        yield "invalid_value", f"must have {least} to {most} characters", at


def _string(value: Any, at: str) -> Iterator[Found]:
    if isinstance(value, str):
        yield from _unicode(value, at)
    else:
        yield "invalid_type", _expected("a string", value), at


def _unicode(value: str, at: str) -> Iterator[Found]:
    if not _is_text(value):
        yield "invalid_value", "holds half of a surrogate pair (`\\ud800`)", at


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _writable(param: str | None) -> str | None:
    """Return a field's name without halves of surrogate pairs."""
    return param and param.encode(errors="backslashreplace").decode()


def _expected(what: str, value: Any) -> str:
    return f"expected {what}, got {_kind(value)}"


def _kind(value: Any) -> str:
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
