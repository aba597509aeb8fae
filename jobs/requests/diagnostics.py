"""Finds every problem of a line that the typed decoder has rejected.

This is slow and thorough: it reads the JSON again, strictly, and compares it with the
decoder's types field by field. See `docs/decisions/0022-diagnosing-bad-lines.md`.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from msgspec import inspect

from batchchat.jobs.requests.json_value import InvalidJsonError, JsonObject, read_json
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.requests.schema import BodyLine, Line, default_custom_id
from batchchat.jobs.requests.type_checks import (
    FieldProblem,
    describe,
    is_valid_text,
    type_problems,
)

_LINE, _BODY_LINE = map(inspect.type_info, (Line, BodyLine))
_CODES = {"method": "invalid_method", "url": "invalid_url"}
"""Fields whose invalid values have a code of their own."""

_MAX_PROBLEMS_PER_LINE = 100


def find_problems(raw: bytes, line: int) -> tuple[str | None, list[Problem]]:
    """Return the custom_id of a line, None if it has none, and all its problems.

    The list is empty if the line is valid.
    """
    try:
        value = read_json(raw)
    except InvalidJsonError as error:
        return None, [Problem("invalid_json_line", line, str(error))]
    problems = [
        Problem(code, line, message, _printable(param))
        for code, message, param in islice(_problems(value), _MAX_PROBLEMS_PER_LINE)
    ]
    return _custom_id(value, line), problems


def _problems(value: Any) -> Iterator[FieldProblem]:
    if not isinstance(value, JsonObject):
        yield "invalid_request", f"expected an object, got {describe(value)}", ""
    elif _is_body_only(value):
        yield from type_problems(_BODY_LINE, value, "")
    else:
        for code, message, param in type_problems(_LINE, value, ""):
            is_value = code == "invalid_value"
            yield _CODES.get(param, code) if is_value else code, message, param


def _custom_id(value: Any, line: int) -> str | None:
    if not isinstance(value, JsonObject):
        return None
    default = default_custom_id(line) if _is_body_only(value) else None
    custom_id = value.get("custom_id", default)
    return custom_id if is_valid_text(custom_id) else None


def _is_body_only(value: JsonObject) -> bool:
    """Return whether the line is a body without the fields around it."""
    return "body" not in value and "messages" in value and "url" not in value


def _printable(param: str) -> str | None:
    """Return the name of a field without unpaired surrogates, None for the line."""
    return param.encode(errors="backslashreplace").decode() or None
