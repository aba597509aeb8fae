"""The decoder and the diagnostics agree on which lines are valid."""

from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from batchchat.jobs.requests.diagnostics import diagnose
from batchchat.jobs.requests.extra_fields import EXTRA_FIELDS
from batchchat.jobs.requests.ignored_fields import without_ignored_fields
from batchchat.jobs.requests.parameters import PARAMETERS
from batchchat.jobs.requests.parser import InvalidLine, Parser
from batchchat.jobs.requests.schema import Body, Request
from tests.support.input_lines import MESSAGES, encoded, line, with_body

HALF = "\ud800"

edges = {
    bound
    for parameter in PARAMETERS.values()
    for bound in (parameter.minimum, parameter.exclusive_minimum, parameter.maximum)
    if bound is not None
}
numbers = (
    st.sampled_from(sorted(edges)).flatmap(
        lambda edge: st.sampled_from([edge, edge - 1, edge + 1, float(edge)])
    )
    | st.integers(-3, 1100)
    | st.floats(-3, 6)
)
words = st.sampled_from(["", "a", "5", "12\n", HALF, "x" * 1024, "x" * 1025])
scalars = st.none() | st.booleans() | numbers | words
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(words, inner, max_size=3)
    ),
    max_leaves=5,
)
roles = st.sampled_from(
    ["user", "assistant", "system", "developer", "tool", "function", "x", None]
)
parts = (
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "input_text", "refusal", "image"])},
        optional={"text": words, "refusal": words, "cache_control": values},
    )
    | scalars
)
contents = st.text(max_size=3) | scalars | st.lists(parts, max_size=2)
calls = st.just(
    [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
)
turns = st.fixed_dictionaries(
    {"role": roles},
    optional={
        "content": contents,
        "name": scalars,
        "tool_call_id": scalars,
        "tool_calls": calls | values,
        "generate": scalars,
        "reasoning": scalars,
        "tool_choice": values,
        "response_format": values,
        "refusal": scalars,
        "annotations": values,
        "function_call": st.just({"name": "f", "arguments": "{}"}) | values,
        "audio": scalars,
        "prefix": scalars,
        "provider_specific_fields": values,
        "thinking_blocks": values,
    },
)
conversations = st.just(MESSAGES) | st.lists(turns | scalars, max_size=3)
names = st.sampled_from(
    [*PARAMETERS, "model", "unknown", HALF, *list(EXTRA_FIELDS[Body])[:5]]
)
near: dict[str, list[Any]] = {
    "tools": [
        [{"type": "function", "function": {"name": "f", "parameters": {"a": HALF}}}],
        [{"type": "function", "function": {"name": "f", "x": 1}}],
        [{"type": "function", "function": {"name": "f"}}],
        [{"type": "function", "function": {}}],
    ],
    "tool_choice": ["auto", {"type": "function", "function": {"name": "f"}}],
    "response_format": [
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}}},
        {"type": "text", "json_schema": {"name": 7}},
    ],
    "structured_outputs": [{"choice": ["a"]}, {"choice": [""]}, {"json": {"a": {}}}],
    "chat_template_kwargs": [
        {"thinking": True},
        {"budget": 1.5, "x": None},
        {"x": [1]},
    ],
    "reasoning_effort": ["high", "higher"],
}
shaped = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(good) | values for name, good in near.items()}
)
bodies = st.dictionaries(names, values, max_size=4)
ids = st.sampled_from(["a", "", "x" * 512, "x" * 513, HALF, 7, None])


def agree(raw):
    """Return whether the decoder and the diagnostics agree about a line."""
    result = Parser("m").parse(raw, 1)
    problems = diagnose(raw, 1).problems
    if isinstance(result, Request):
        return not problems
    if _decodes(raw):  # then only fields can contradict each other
        return all(problem in result.problems for problem in problems)
    others = [one for one in result.problems if one.code != "mismatched_model"]
    return bool(problems) and others == problems


def _decodes(raw):
    """Return whether a line, or the rest without ignored fields, has valid types."""
    rest = without_ignored_fields(raw)
    return any(map(_has_valid_types, [raw, *([rest.raw] if rest else [])]))


def _has_valid_types(raw):
    try:
        Parser("m")._decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


@given(conversations, bodies)
def test_decoder_and_diagnostics_agree_about_bodies(messages, body):
    assert agree(with_body(messages=messages, **body))


@given(conversations, shaped)
def test_decoder_and_diagnostics_agree_about_typed_fields(messages, body):
    assert agree(with_body(messages=messages, **body))


@given(ids, conversations, bodies)
@example("a", [{"role": "user"}], {})
def test_decoder_and_diagnostics_agree_about_lines_that_are_only_a_body(
    custom_id, messages, body
):
    assert agree(encoded({"custom_id": custom_id, "messages": messages, **body}))


@given(names, values)
def test_decoder_and_diagnostics_agree_about_single_fields(name, value):
    assert agree(with_body(**{name: value}))


@given(st.dictionaries(st.sampled_from(["custom_id", "url", "method"]), scalars))
def test_decoder_and_diagnostics_agree_about_lines(fields):
    assert agree(line(**fields))


@given(
    st.integers(0, 150),
    st.integers(0, 4),
    st.binary(max_size=3)
    | st.sampled_from([b'"', b"\\u0022", b"\\ud800", b"1e9", b" "]),
)
@example(0, 0, b"\xef\xbb\xbf")
def test_decoder_and_diagnostics_agree_about_damaged_lines(at, cut, put):
    raw = with_body(temperature=1.5, stop=["a", "é"], metadata={"a": "b"})
    assert agree(raw[:at] + put + raw[at + cut :])


def parsed_fast(raw, parser=None):
    """Return what the fast path makes of a line, None if it does not accept it."""
    found = (parser or Parser("m")).parse_fast([raw], raw)
    return found and found[0]


def fast_path_agrees(raw):
    """Return whether a line that the fast path accepts is valid with the same id."""
    plain = parsed_fast(raw)
    if plain is None:
        return True
    request = Parser("m").parse(raw, 1)
    return isinstance(request, Request) and request.custom_id == plain.custom_id


@given(conversations, bodies | shaped)
def test_the_fast_path_accepts_only_valid_bodies(messages, body):
    assert fast_path_agrees(with_body(messages=messages, **body))


@given(st.dictionaries(st.sampled_from(["custom_id", "url", "method"]), scalars))
def test_the_fast_path_accepts_only_valid_lines(fields):
    assert fast_path_agrees(line(**fields))


@given(names, values)
@example("n", 2)
@example("temperature", 1.5)
def test_the_fast_path_accepts_only_valid_fields(name, value):
    assert fast_path_agrees(with_body(**{name: value}))
    assert fast_path_agrees(
        with_body(**{"temperature": 0, "max_tokens": 1, name: value})
    )


def test_the_fast_path_accepts_an_ordinary_line():
    usual = with_body(model="m", temperature=0.5, max_tokens=3, seed=1, stop=["a"])
    assert parsed_fast(usual) is not None


def test_the_fast_path_rejects_duplicate_keys():
    body = b'{"messages":[{"role":"user","content":"a","content":"b"}]}'
    raw = line().replace(encoded({"messages": MESSAGES}), body)
    assert body in raw
    assert parsed_fast(raw) is None


def test_the_fast_path_rejects_a_missing_or_different_model():
    assert parsed_fast(with_body(model="m"), Parser(None)) is None
    assert parsed_fast(with_body(model="another")) is None
    assert parsed_fast(with_body(), Parser("m", model_optional=False)) is None


@given(st.binary(max_size=40))
def test_the_parser_never_raises(raw):
    assert isinstance(Parser(None).parse(raw, 1), InvalidLine)
