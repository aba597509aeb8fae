"""Converts the grammar of tool calls from xgrammar's form into guidance's.

vLLM describes the calls that an answer must consist of by a structural tag of xgrammar:
a list of tags, each with a text, a JSON schema and another text. guidance expresses the
same as a Lark grammar with JSON schemas in it.
"""

import json
from typing import Any

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.requests.json_schemas import enforceable


def tool_call_grammar(tag: dict[str, Any], *, has_whitespace: bool) -> str:
    """Return the Lark grammar of a structural tag.

    `has_whitespace` states whether JSON may have whitespace between its parts.
    Raises `RequestRefusedError` if the tag is not a list of calls.
    """
    calls = tag.get("format", {})
    if calls.get("type") != "tags_with_separator":
        raise RequestRefusedError(
            "the schemas of the tools cannot be enforced for this model",
            code="invalid_value",
        )
    names = [f"call_{number}" for number in range(len(calls["tags"]))]
    rules = [
        f"{name}: {_call(call, has_whitespace=has_whitespace)}"
        for name, call in zip(names, calls["tags"], strict=True)
    ]
    more = "" if calls["stop_after_first"] else f" ({_text(calls['separator'])} call)*"
    first = f"start: call{more}" if calls["at_least_one"] else f"start: (call{more})?"
    return "\n".join([first, f"call: {' | '.join(names)}", *rules])


def _call(call: dict[str, Any], *, has_whitespace: bool) -> str:
    schema = call["content"]["json_schema"]
    options = {"x-guidance": {"whitespace_flexible": has_whitespace}}
    body = options if isinstance(schema, bool) else options | enforceable(schema)
    return f"{_text(call['begin'])} %json {json.dumps(body)} {_text(call['end'])}"


def _text(text: str) -> str:
    return json.dumps(text) if text else ""
