"""Null means that an optional field is absent, at every depth."""

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, inspect, structs

from batchchat.jobs.requests.extra_fields import EXTRA_FIELDS
from batchchat.jobs.requests.ignored_fields import ignored_fields
from batchchat.jobs.requests.schema import BodyLine, Line
from tests.support.input_lines import (
    MESSAGES,
    encoded,
    line,
    parse_valid,
    problems_of,
    with_body,
    with_message,
)

SCHEMA = {
    "type": "object",
    "properties": {
        "town": {"type": "string", "default": None},
        "kind": {"anyOf": [{"enum": ["a", None]}, {"const": None}]},
        "list": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    },
    "required": ["town"],
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
CALL = {
    "id": "c",
    "type": "function",
    "function": {"name": "f", "arguments": '{"town": null}'},
}
CONVERSATION = [
    {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
    {"role": "user", "content": "null"},
    {"role": "assistant", "generate": True, "tools": [TOOL], "tool_choice": "auto"},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "content": "hi", "tool_call_id": "c"},
    {"role": "assistant", "content": "", "reasoning": "r"},
    {"role": "assistant", "refusal": "I can't."},
    {"role": "assistant", "function_call": CALL["function"]},
    {"role": "function", "name": "f", "content": "no"},
]
BODIES: list[dict[str, Any]] = [
    {"messages": MESSAGES},
    {"messages": CONVERSATION, "model": "m", "temperature": 0.5, "stop": ["a"]},
    {
        "messages": MESSAGES,
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "metadata": {"a": "b"},
        "logit_bias": {"5": 1},
        "chat_template_kwargs": {"x": None},
    },
    {
        "messages": MESSAGES,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": SCHEMA},
        },
    },
    {"messages": MESSAGES, "structured_outputs": {"json": SCHEMA}},
]
LINES = [
    json.loads(raw)
    for body in BODIES
    for raw in (line(body=body), encoded(body), encoded({"custom_id": "a"} | body))
]
UNKNOWN = ["id", "source", "x"]


def with_nulls(draw, value, expected):
    """Return a value with null for some of the keys that it does not have."""
    if isinstance(value, list):
        kinds = members(expected, inspect.ListType)
        return [with_nulls(draw, one, kinds[0].item_type) for one in value]
    if not isinstance(value, dict):
        return value
    if members(expected, inspect.DictType):
        return mapping_with_nulls(draw, value)
    struct = members(expected, inspect.StructType)[0]
    types = {field.encode_name: field for field in struct.fields}
    absent = [name for name in types if name not in value and not types[name].required]
    extra = EXTRA_FIELDS.get(struct.cls, {})
    possible = st.sampled_from([*absent, *extra, *UNKNOWN])
    names = draw(st.lists(possible, max_size=4))
    given_values = {
        name: with_nulls(draw, item, types[name].type) for name, item in value.items()
    }
    return dict.fromkeys(name for name in names if name not in value) | given_values


def mapping_with_nulls(draw, value):
    """Return metadata, biases or a schema with null entries."""
    if "properties" in value:
        extra = {"description": None, "enum": None, "items": None}
        value = value | {"properties": value["properties"] | {"other": None}}
    elif value == {"x": None}:  # variables of a template may be null
        return value
    else:
        extra = {"7": None}
    return value | extra if draw(st.booleans()) else value


def members(expected, kind):
    if isinstance(expected, inspect.Metadata):
        return members(expected.type, kind)
    if isinstance(expected, inspect.UnionType):
        return [one for member in expected.types for one in members(member, kind)]
    return [expected] if isinstance(expected, kind) else []


@given(st.data(), st.sampled_from(LINES))
def test_nulls_for_optional_keys_change_nothing(data, given_line):
    kind = inspect.type_info(Line if "body" in given_line else BodyLine)
    padded = parse_valid(encoded(with_nulls(data.draw, given_line, kind)))
    assert padded == parse_valid(encoded(given_line))
    assert ignored_fields(padded) == []


def test_rows_of_an_arrow_table_are_the_same_requests():
    """A table's rows have the fields of all its rows."""
    tool = {"type": "function", "function": {"name": "g", "description": "A tool."}}
    town = {"type": "object", "properties": {"town": {"type": "string"}}}
    tools = [tool, {"type": "function", "function": {"name": "h", "parameters": town}}]
    answer = {"role": "assistant", "tool_calls": [CALL]}
    bodies: list[dict[str, Any]] = [
        {"messages": MESSAGES, "seed": 5, "stop": ["a"], "logit_bias": {"5": 1.0}},
        {"messages": [*MESSAGES, answer], "metadata": {"a": "b"}, "tools": tools[:1]},
        {"messages": [{"role": "user", "content": "x", "name": "ann"}], "tools": tools},
        {"messages": MESSAGES, "metadata": {"c": "d"}, "response_format": FORMAT},
    ]
    table = pa.Table.from_pylist([json.loads(line(body=body)) for body in bodies])
    for row, body in zip(table.to_pylist(), bodies, strict=True):
        assert row != json.loads(line(body=body))
        assert parse_valid(encoded(row)) == parse_valid(line(body=body))


FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"title": "t"}}}


@pytest.mark.parametrize("field", ["role", "content"])
def test_a_required_field_must_not_be_null(field):
    assert problems_of(with_message(**{field: None})) != []


@pytest.mark.parametrize("seed", [None, -1])
def test_no_seed_is_the_same_as_minus_one(seed):
    assert parse_valid(with_body(seed=seed)) == parse_valid(with_body())


def test_top_k_minus_one_is_off():
    assert parse_valid(with_body(top_k=-1)) == parse_valid(with_body(top_k=0))


def test_null_content_of_an_answer_is_no_content():
    answers: list[dict[str, Any]] = [
        {"tool_calls": [CALL]},
        {"reasoning": "r"},
        {"reasoning_content": "r"},
        {"refusal": "no"},
        {"function_call": CALL["function"]},
    ]
    for answer in answers:
        null = with_message(role="assistant", **{"content": None} | answer)
        absent = with_body(messages=[{"role": "assistant"} | answer])
        assert parse_valid(null) == parse_valid(absent)
        both = with_message(role="assistant", **{"content": "a"} | answer)
        assert parse_valid(both).body.messages[0].content == "a"


def test_an_answer_of_null_is_an_empty_text():
    null = with_message(role="assistant", content=None)
    assert parse_valid(null) == parse_valid(with_message(role="assistant", content=""))


def test_canonical_requests_hold_no_nulls():
    raw = encoded({"messages": CONVERSATION, "custom_id": None, "temperature": None})
    request = parse_valid(raw)
    assert request.custom_id == "request-7"
    for message in request.body.messages:
        assert None not in structs.astuple(message)
    assert request.body.temperature is UNSET
