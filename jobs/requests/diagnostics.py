"""Finds every problem of a line that the typed decoder has rejected.

This is slow and thorough: it reads the JSON again, strictly, and compares it with the
decoder's types field by field. See `docs/decisions/0022-diagnosing-bad-lines.md`.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from batchchat.jobs.requests.ignored_fields import is_body_only, remove_ignored_fields
from batchchat.jobs.requests.json_value import InvalidJsonError, JsonObject, read_json
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.requests.row_error import read_row_error, row_problem
from batchchat.jobs.requests.schema import (
    Body,
    BodyLine,
    CustomId,
    Envelope,
    default_custom_id,
)
from batchchat.jobs.requests.type_checks import (
    FieldProblem,
    describe,
    is_valid_text,
    type_problems,
)

_ENVELOPE, _BODY, _BODY_LINE = map(inspect.type_info, (Envelope, Body, BodyLine))
_CODES = {"method": "invalid_method", "url": "invalid_url"}
"""Fields whose invalid values have a code of their own."""

MAX_PROBLEMS_PER_LINE = 100


_CUSTOM_ID_FIRST = re.compile(rb'\s*\{\s*"custom_id"\s*:\s*("(?:[^"\\]|\\.)*")\s*,')
_custom_id = msgspec.json.Decoder(CustomId)


class Diagnosis(NamedTuple):
    """What is on a line; `problems` is empty if it is valid.

    `custom_id` is None if there is no readable one. `model` is the body's, None if
    there is none or its type is wrong. `is_bare` lines are a body without the fields
    around it.
    """

    problems: list[Problem]
    custom_id: str | None = None
    model: str | None = None
    is_bare: bool = False


def diagnose(raw: bytes, line: int) -> Diagnosis:
    """Return all problems of a line, those of its form first."""
    row_error = read_row_error(raw)
    if row_error is not None:
        return Diagnosis([row_problem(row_error, line)], row_error.custom_id)
    try:
        value = read_json(raw)
    except InvalidJsonError as error:
        return Diagnosis([Problem("invalid_json_line", line, str(error))])
    if not isinstance(value, JsonObject):
        message = f"expected an object, got {describe(value)}"
        return Diagnosis([Problem("invalid_request", line, message)])
    is_bare = is_body_only(value)
    remove_ignored_fields(value)
    found = _bare_problems(value) if is_bare else _problems(value)
    problems = [
        Problem(code, line, message, _printable(param), in_body=in_body)
        for (code, message, param), in_body in islice(found, MAX_PROBLEMS_PER_LINE)
    ]
    custom_id = value.get("custom_id")
    if custom_id is None and is_bare:
        custom_id = default_custom_id(line)
    body = value if is_bare else value.get("body")
    model = body.get("model") if isinstance(body, JsonObject) else None
    return Diagnosis(problems, _text(custom_id), _text(model), is_bare)


def first_custom_id(head: bytes) -> str | None:
    """Return the custom_id of a line that begins with `head`, None unless it is first.

    Then the error of a line that is too long to be read is that of one request.
    """
    found = _CUSTOM_ID_FIRST.match(head)
    try:
        return _custom_id.decode(found[1]) if found else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _problems(value: JsonObject) -> Iterator[tuple[FieldProblem, bool]]:
    """Yield the problems of a line, and whether each is in the body."""
    body, form = value.get("body"), JsonObject(value)
    form.duplicate_keys = value.duplicate_keys
    if isinstance(body, JsonObject):
        form["body"] = JsonObject()
    for code, message, param in type_problems(_ENVELOPE, form, ""):
        is_value = code == "invalid_value"
        own_code = _CODES.get(param, code) if is_value else code
        yield (own_code, message, param), False
    if isinstance(body, JsonObject):
        yield from ((problem, True) for problem in type_problems(_BODY, body, ""))


def _bare_problems(value: JsonObject) -> Iterator[tuple[FieldProblem, bool]]:
    """Do the same for a line that is only a body; its form is the custom_id."""
    found = [(p, p[2] != "custom_id") for p in type_problems(_BODY_LINE, value, "")]
    return iter(sorted(found, key=lambda one: one[1]))


def _text(value: Any) -> str | None:
    return value if is_valid_text(value) else None


def _printable(param: str) -> str | None:
    """Return the name of a field without unpaired surrogates, None for the line."""
    return param.encode(errors="backslashreplace").decode() or None
