"""Builds lines of an input file and parses them."""

import json
from typing import Any

from batchchat.jobs.requests.parser import InvalidLine, Parser
from batchchat.jobs.requests.schema import Request

MESSAGES = [{"role": "user", "content": "hi"}]
ABSENT = object()
"""Marks a field to omit."""


def line(**fields: object) -> bytes:
    """Return a valid line with some fields replaced."""
    good = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
    return encoded(good | {"body": {"messages": MESSAGES}} | fields)


def with_body(**fields: object) -> bytes:
    """Return a valid line with `fields` in its body."""
    return line(body=present({"messages": MESSAGES} | fields))


def with_message(**fields: object) -> bytes:
    """Return a valid line with `fields` in its message."""
    return with_body(messages=[present(MESSAGES[0] | fields)])


def with_raw_body(text: str) -> bytes:
    """Return a valid line with `text` inserted into its body, not encoded."""
    return with_body(end=0).replace(b'"end": 0', text.encode())


def present(fields: dict[str, Any]) -> dict[str, Any]:
    """Return `fields` without the omitted ones."""
    return {name: value for name, value in fields.items() if value is not ABSENT}


def encoded(fields: dict[str, Any]) -> bytes:
    """Return `fields` as a line of JSON."""
    return json.dumps(present(fields)).encode()


def parse_valid(raw: bytes) -> Request:
    """Return the request on line 7 of a batch for the model `m`."""
    request = Parser("m").parse(raw, 7)
    assert isinstance(request, Request), request
    return request


def parse_invalid(raw: bytes, model: str | None = "m") -> InvalidLine:
    """Return the invalid line that `raw` must be."""
    invalid = Parser(model).parse(raw, 7)
    assert isinstance(invalid, InvalidLine), invalid
    return invalid


def problems_of(raw: bytes, model: str | None = "m") -> list[tuple[str, str | None]]:
    """Return the codes and fields of all problems of a line."""
    if isinstance(Parser(model).parse(raw, 7), Request):
        return []
    problems = parse_invalid(raw, model).problems
    assert all(problem.line == 7 for problem in problems)
    return [(problem.code, problem.param) for problem in problems]
