"""Every problem of a body is reported with its code and field."""

import json

import pytest

from batchchat.jobs.requests.extra_fields import UNSUPPORTED_FIELDS
from batchchat.jobs.requests.parameters import MAX_MESSAGES
from tests.support.input_lines import (
    ABSENT,
    MESSAGES,
    parse_invalid,
    present,
    problems_of,
    with_body,
    with_message,
    with_raw_body,
)

TYPE, VALUE = "invalid_type", "invalid_value"
EMPTY, LONG = "string_below_min_length", "string_above_max_length"
NO_ITEMS, MANY = "empty_array", "array_above_max_length"
LOW, HIGH = "integer_below_min_value", "integer_above_max_value"
PAIRS = "object_above_max_properties"
MISSING, UNKNOWN = "missing_required_parameter", "unknown_parameter"
HALF = "\ud800"

IN_MESSAGES = {
    "missing": (ABSENT, MISSING, ""),
    "null": (None, TYPE, ""),
    "text": ("hi", TYPE, ""),
    "one object": (MESSAGES[0], TYPE, ""),
    "none": ([], NO_ITEMS, ""),
    "too many": (MESSAGES * (MAX_MESSAGES + 1), MANY, ""),
    "a string in it": (["hi"], TYPE, "[0]"),
    "null in it": ([*MESSAGES, None], TYPE, "[1]"),
}


@pytest.mark.parametrize(
    ("messages", "code", "at"), IN_MESSAGES.values(), ids=IN_MESSAGES
)
def test_invalid_messages_are_reported(messages, code, at):
    assert problems_of(with_body(messages=messages)) == [(code, f"messages{at}")]


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}
GENERATED = {"role": "assistant", "generate": True, "content": ABSENT}
IN_A_MESSAGE = {
    "role missing": ({"role": ABSENT}, MISSING, "role"),
    "role null": ({"role": None}, VALUE, "role"),
    "role unknown": ({"role": "robot"}, VALUE, "role"),
    "role in capitals": ({"role": "User"}, VALUE, "role"),
    "role a list": ({"role": ["user"]}, VALUE, "role"),
    "content missing": ({"content": ABSENT}, MISSING, "content"),
    "content null": ({"content": None}, TYPE, "content"),
    "content a number": ({"content": 7}, TYPE, "content"),
    "content an object": ({"content": {"text": "hi"}}, TYPE, "content"),
    "content half a pair": ({"content": HALF}, VALUE, "content"),
    "a part of text": ({"content": ["hi"]}, TYPE, "content[0]"),
    "an image": ({"content": [{"type": "image_url"}]}, VALUE, "content[0].type"),
    "a part without type": ({"content": [{"text": "a"}]}, MISSING, "content[0].type"),
    "no text": ({"content": [{"type": "text"}]}, MISSING, "content[0].text"),
    "text a number": (
        {"content": [{"type": "text", "text": 7}]},
        TYPE,
        "content[0].text",
    ),
    "a part's field": (
        {"content": [{"type": "text", "text": "a", "txt": 1}]},
        UNKNOWN,
        "content[0].txt",
    ),
    "name a number": ({"name": 7}, TYPE, "name"),
    "name long": ({"name": "x" * 1025}, LONG, "name"),
    "a call's id a number": ({"tool_call_id": 7}, TYPE, "tool_call_id"),
    "a field": ({"contents": "hi"}, UNKNOWN, "contents"),
    "a user's tool calls": ({"tool_calls": [CALL]}, VALUE, "tool_calls"),
    "a user's reasoning": ({"reasoning": "a"}, VALUE, "reasoning"),
    "a call without id": (
        {"role": "assistant", "tool_calls": [present(CALL | {"id": ABSENT})]},
        MISSING,
        "tool_calls[0].id",
    ),
    "a call's arguments": (
        {
            "role": "assistant",
            "tool_calls": [CALL | {"function": {"name": "f", "arguments": [7]}}],
        },
        TYPE,
        "tool_calls[0].function.arguments",
    ),
    "a user's refusal": ({"refusal": "no"}, VALUE, "refusal"),
    "a user's call": (
        {"function_call": CALL["function"]},
        VALUE,
        "function_call",
    ),
    "an answer's audio": (
        {"role": "assistant", "audio": {"id": "a"}},
        "unsupported_parameter",
        "audio",
    ),
    "a prefilled answer": (
        {"role": "assistant", "prefix": True},
        "unsupported_parameter",
        "prefix",
    ),
    "generate false": ({"generate": False}, VALUE, "generate"),
    "generate a number": ({"generate": 1}, TYPE, "generate"),
    "a generated turn's content": (
        {"role": "assistant", "generate": True},
        VALUE,
        "content",
    ),
    "a generated turn's calls": (
        GENERATED | {"tool_calls": [CALL]},
        VALUE,
        "tool_calls",
    ),
    "a generated turn of the user": (GENERATED | {"role": "user"}, VALUE, "generate"),
    "a generated turn's choice without tools": (
        GENERATED | {"tool_choice": "auto"},
        VALUE,
        "tool_choice",
    ),
    "a format without a generated turn": (
        {"response_format": {"type": "text"}},
        VALUE,
        "response_format",
    ),
}


@pytest.mark.parametrize(
    ("fields", "code", "at"), IN_A_MESSAGE.values(), ids=IN_A_MESSAGE
)
def test_invalid_fields_of_a_message_are_reported(fields, code, at):
    assert problems_of(with_message(**fields)) == [(code, f"messages[0].{at}")]


def _tool(**function):
    return {"type": "function", "function": {"name": "f"} | function}


def _schema(**fields):
    schema = {"name": "n", "schema": {}} | fields
    return {"type": "json_schema", "json_schema": present(schema)}


DEEP = json.loads('{"a":' * 40 + "{}" + "}" * 40)
TOOL, NAMED = _tool(), {"type": "function", "function": {"name": "f"}}
FORMAT, STRUCTURED, SCHEMA = "response_format", "structured_outputs", ".json_schema"
STOP, BIAS, DATA = "stop", "logit_bias", "metadata"
IN_A_FIELD = [
    ("model", 7, TYPE, ""),
    ("model", HALF, VALUE, ""),
    (STOP, "", EMPTY, ""),
    (STOP, 7, TYPE, ""),
    (STOP, {}, TYPE, ""),
    (STOP, "x" * 1025, LONG, ""),
    (STOP, ["a", ""], EMPTY, "[1]"),
    (STOP, ["a", None], TYPE, "[1]"),
    (STOP, ["a"] * 5, MANY, ""),
    ("stop_token_ids", 5, TYPE, ""),
    ("stop_token_ids", [5, 5.0], TYPE, "[1]"),
    ("stop_token_ids", [True], TYPE, "[0]"),
    ("stop_token_ids", [5] * 257, MANY, ""),
    ("bad_words", "word", TYPE, ""),
    ("bad_words", [""], EMPTY, "[0]"),
    ("bad_words", ["a"] * 257, MANY, ""),
    (BIAS, [], TYPE, ""),
    (BIAS, {"five": 1}, VALUE, ".five"),
    (BIAS, {"-1": 1}, VALUE, ".-1"),
    (BIAS, {"1.0": 1}, VALUE, ".1.0"),
    (BIAS, {"": 1}, VALUE, "."),
    (BIAS, {"٣": 1}, VALUE, ".٣"),
    (BIAS, {"12\n": 1}, VALUE, ".12\n"),
    (BIAS, {"1" * 10: 1}, VALUE, "." + "1" * 10),
    (BIAS, {"5": "1"}, TYPE, ".5"),
    (BIAS, {"5": True}, TYPE, ".5"),
    (BIAS, {str(token): 0 for token in range(301)}, PAIRS, ""),
    (DATA, "a=b", TYPE, ""),
    (DATA, {"a": 1}, TYPE, ".a"),
    (DATA, {"a": HALF}, VALUE, ".a"),
    (DATA, {HALF: "a"}, VALUE, ".\\ud800"),
    (DATA, {str(pair): "" for pair in range(17)}, PAIRS, ""),
    ("user", 7, TYPE, ""),
    ("user", "x" * 1025, LONG, ""),
    ("stream", "true", TYPE, ""),
    ("logprobs", 1, TYPE, ""),
    ("ignore_eos", "no", TYPE, ""),
    ("response_formats", {}, UNKNOWN, ""),
    ("x" * 99, 1, UNKNOWN, ""),
    ("tools", [], NO_ITEMS, ""),
    ("tools", {}, TYPE, ""),
    ("tools", [TOOL] * 129, MANY, ""),
    ("tools", [TOOL, TOOL], VALUE, ""),
    ("tools", [{"type": "function"}], MISSING, "[0].function"),
    ("tools", [{"type": "custom"}], VALUE, "[0].type"),
    ("tools", [TOOL | {"x": 1}], UNKNOWN, "[0].x"),
    ("tools", [_tool(name="a b")], VALUE, "[0].function.name"),
    ("tools", [_tool(name="a" * 65)], VALUE, "[0].function.name"),
    ("tools", [_tool(parameters=[])], TYPE, "[0].function.parameters"),
    ("tools", [_tool(parameters=DEEP)], VALUE, "[0].function.parameters"),
    ("tool_choice", "any", VALUE, ""),
    ("tool_choice", "auto", VALUE, ""),
    ("tool_choice", NAMED, VALUE, ""),
    ("parallel_tool_calls", "yes", TYPE, ""),
    (FORMAT, "json", TYPE, ""),
    (FORMAT, {}, MISSING, ".type"),
    (FORMAT, {"type": "xml"}, VALUE, ".type"),
    (FORMAT, {"type": "json_schema"}, MISSING, ".json_schema"),
    (FORMAT, {"type": "json_object", "json_schema": {"name": "n"}}, VALUE, SCHEMA),
    (FORMAT, _schema(name="a b"), VALUE, f"{SCHEMA}.name"),
    (FORMAT, _schema(schema=ABSENT), MISSING, f"{SCHEMA}.schema"),
    (FORMAT, _schema(schema=True), TYPE, f"{SCHEMA}.schema"),
    (FORMAT, _schema(schema=DEEP), VALUE, f"{SCHEMA}.schema"),
    (FORMAT, _schema(schema={"title": "x" * 70_000}), VALUE, f"{SCHEMA}.schema"),
    (STRUCTURED, {}, VALUE, ""),
    (STRUCTURED, {"regex": "a", "choice": ["b"]}, VALUE, ""),
    (STRUCTURED, {"regex": "a" * 2049}, LONG, ".regex"),
    (STRUCTURED, {"choice": []}, NO_ITEMS, ".choice"),
    (STRUCTURED, {"choice": ["a"] * 1001}, MANY, ".choice"),
    (STRUCTURED, {"choice": ["a", ""]}, EMPTY, ".choice[1]"),
    (STRUCTURED, {"grammar": "a" * 40_000}, LONG, ".grammar"),
    (STRUCTURED, {"json_object": False}, VALUE, ".json_object"),
    (STRUCTURED, {"json": DEEP}, VALUE, ".json"),
    (STRUCTURED, {"structural_tag": "x"}, UNKNOWN, ".structural_tag"),
    ("reasoning_effort", "much", VALUE, ""),
    ("chat_template_kwargs", {"messages": []}, TYPE, ".messages"),
    ("chat_template_kwargs", {"budget": {"a": 1}}, TYPE, ".budget"),
    ("chat_template_kwargs", {"date_string": "x" * 4_097}, LONG, ".date_string"),
    ("chat_template_kwargs", {"budget": 10**20}, HIGH, ".budget"),
    ("chat_template_kwargs", {f"a{i}": i for i in range(33)}, PAIRS, ""),
    ("allowed_token_ids", [-1], LOW, "[0]"),
    ("allowed_token_ids", [], NO_ITEMS, ""),
]


@pytest.mark.parametrize(("name", "value", "code", "at"), IN_A_FIELD)
def test_invalid_fields_of_a_body_are_reported(name, value, code, at):
    assert problems_of(with_body(**{name: value})) == [(code, f"{name[:80]}{at}")]


@pytest.mark.parametrize("name", UNSUPPORTED_FIELDS)
def test_unsupported_fields_are_rejected_with_a_reason(name):
    (problem,) = parse_invalid(with_body(**{name: "other"})).problems
    assert (problem.code, problem.param) == ("unsupported_parameter", name)
    assert UNSUPPORTED_FIELDS[name] in problem.message


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("temperatures", "temperature"), ("maxTokens", "max_tokens"), ("top-p", "top_p")],
)
def test_the_error_for_an_unknown_field_suggests_the_nearest_name(typo, meant):
    (problem,) = parse_invalid(with_body(**{typo: 1})).problems
    assert problem.message == f"unknown field; did you mean `{meant}`?"


def test_every_problem_within_an_object_is_reported():
    tool = {"type": "function", "function": {"name": "a b", "strict": 1}, "x": 1}
    assert problems_of(with_body(tools=[tool, {"type": "function"}])) == [
        (UNKNOWN, "tools[0].x"),
        (VALUE, "tools[0].function.name"),
        (TYPE, "tools[0].function.strict"),
        (MISSING, "tools[1].function"),
    ]


def test_problems_in_a_deeply_nested_value_are_reported():
    depth = 300
    nested = '{"a": ' * depth + '{"b": 1, "b": 2}' + "}" * depth
    function = f'{{"name": "f", "parameters": {nested}}}'
    raw = with_raw_body(f'"tools": [{{"type": "function", "function": {function}}}]')
    at = "tools[0].function.parameters" + ".a" * depth
    assert ("duplicate_key", f"{at}.b") in problems_of(raw)


def test_a_number_with_thousands_of_digits_is_not_quoted():
    (problem,) = parse_invalid(with_raw_body('"seed": ' + "9" * 4_000)).problems
    assert problem.message == "must be at least -1 and at most 9223372036854775807"


@pytest.mark.parametrize("name", ["stop", "stop_token_ids", "bad_words"])
def test_an_empty_list_is_valid(name):
    assert problems_of(with_body(**{name: []})) == []
