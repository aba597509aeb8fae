"""Lines of an input file: what the tests of the parser begin with."""

import json
from typing import Any

from batchchat.jobs.requests.parser import InvalidLine, Parser
from batchchat.jobs.requests.schema import Request

MESSAGES = [{"role": "user", "content": "hi"}]
ABSENT = object()
"""Leaves a field out."""


def line(**fields: object) -> bytes:
    """Return a good line, with `fields` in place of its own."""
    good = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
    return encoded(good | {"body": {"messages": MESSAGES}} | fields)


def with_body(**fields: object) -> bytes:
    """Return a good line, with `fields` in its body."""
    return line(body=present({"messages": MESSAGES} | fields))


def with_message(**fields: object) -> bytes:
    """Return a good line, with `fields` in its message."""
    return with_body(messages=[present(MESSAGES[0] | fields)])


def raw_body(text: str) -> bytes:
    """Return a good line whose body goes on with `text`, not encoded."""
    return with_body(end=0).replace(b'"end": 0', text.encode())


def present(fields: dict[str, Any]) -> dict[str, Any]:
    """Return `fields` without the absent ones."""
    return {name: value for name, value in fields.items() if value is not ABSENT}


def encoded(fields: dict[str, Any]) -> bytes:
    """Return `fields` as a line of JSON."""
    return json.dumps(present(fields)).encode()


def parsed(raw: bytes) -> Request:
    """Return the request on a line, the seventh, of a batch for the model `m`."""
    request = Parser("m").parse(raw, 7)
    assert isinstance(request, Request), request
    return request


def refused(raw: bytes, model: str | None = "m") -> InvalidLine:
    """Return what a line is that must be no request."""
    invalid = Parser(model).parse(raw, 7)
    assert isinstance(invalid, InvalidLine), invalid
    return invalid


def wrong(raw: bytes, model: str | None = "m") -> list[tuple[str, str | None]]:
    """Return the code and the field of everything wrong with the line."""
    if isinstance(Parser(model).parse(raw, 7), Request):
        return []
    problems = refused(raw, model).problems
    assert all(problem.line == 7 for problem in problems)
    return [(problem.code, problem.param) for problem in problems]
