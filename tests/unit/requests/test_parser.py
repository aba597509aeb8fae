"""What the parser accepts, and what it returns."""

import msgspec
import pytest

from batchchat.jobs.requests.parameters import PARAMETERS
from batchchat.jobs.requests.parser import InvalidLine, Parser
from batchchat.jobs.requests.schema import Request
from tests.support.input_lines import (
    ABSENT,
    MESSAGES,
    encoded,
    line,
    parse_invalid,
    parse_valid,
    problems_of,
    with_body,
    with_message,
)

EVERYTHING = {
    "temperature": 0.7,
    "top_p": 0.9,
    "min_p": 0.1,
    "top_k": 40,
    "max_tokens": 100,
    "max_completion_tokens": 100,
    "min_tokens": 1,
    "presence_penalty": -0.5,
    "frequency_penalty": 0.5,
    "repetition_penalty": 1.1,
    "seed": 7,
    "n": 2,
    "stop": ["a", "b"],
    "stop_token_ids": [1, 2],
    "allowed_token_ids": [1, 2],
    "bad_words": ["c"],
    "logit_bias": {"5": -100, "6": 0.5},
    "logprobs": True,
    "top_logprobs": 3,
    "ignore_eos": False,
    "skip_special_tokens": True,
    "spaces_between_special_tokens": True,
    "include_stop_str_in_output": False,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "response_format": {"type": "text"},
    "structured_outputs": {"choice": ["yes", "no"]},
    "reasoning_effort": "low",
    "include_reasoning": False,
    "chat_template_kwargs": {"enable_thinking": True},
    "stream": True,
    "user": "u",
    "metadata": {"k": "v"},
    "store": False,
    "service_tier": "auto",
    "safety_identifier": "s",
    "prompt_cache_key": "p",
    "prompt_cache_retention": "24h",
    "stream_options": {"include_usage": True},
}


def test_every_parameter_is_parsed():
    assert EVERYTHING.keys() == PARAMETERS.keys()
    request = parse_valid(with_body(model="m", **EVERYTHING))
    given = {name: msgspec.to_builtins(request.parameter(name)) for name in EVERYTHING}
    assert given == EVERYTHING


def test_a_request_has_its_line_and_custom_id():
    request = parse_valid(line(custom_id="q-1"))
    assert (request.line, request.custom_id) == (7, "q-1")
    assert [message.text() for message in request.body.messages] == ["hi"]


@pytest.mark.parametrize("end", [b"", b"\r", b"  ", b"\t"])
def test_whitespace_around_a_line_is_ignored(end):
    assert problems_of(b" " + line() + end) == []


@pytest.mark.parametrize("custom_id", ["x", "a b", "é", "😀" * 512, "0", "\x7f", "/"])
def test_a_custom_id_may_be_any_text(custom_id):
    assert parse_valid(line(custom_id=custom_id)).custom_id == custom_id


def test_the_default_custom_id_contains_the_line_number():
    assert parse_valid(encoded({"messages": MESSAGES})).custom_id == "request-7"


def test_a_line_that_is_only_a_body_may_have_a_custom_id():
    request = parse_valid(encoded({"custom_id": "b", "messages": MESSAGES, "n": 2}))
    assert (request.custom_id, request.parameter("n")) == ("b", 2)


def test_problems_of_a_line_that_is_only_a_body_name_its_fields():
    raw = encoded({"messages": MESSAGES, "n": 0, "temperatures": 1})
    assert problems_of(raw) == [
        ("unknown_parameter", "temperatures"),
        ("integer_below_min_value", "n"),
    ]


def test_an_invalid_line_has_a_custom_id_if_it_is_readable():
    assert parse_invalid(line(custom_id="b", method="GET")).custom_id == "b"
    assert parse_invalid(line(custom_id=7)).custom_id is None
    assert parse_invalid(b"{").custom_id is None


def test_an_invalid_line_that_is_only_a_body_has_the_default_custom_id():
    assert parse_invalid(b'{"messages": []}').custom_id == "request-7"


def test_all_problems_of_a_line_are_reported():
    raw = line(
        custom_id=ABSENT,
        method="GET",
        body={"messages": [{"role": "x"}], "top_p": 0, "n": 1.5, "audio": {}, "nn": 1},
    )
    assert problems_of(raw) == [
        ("missing_required_parameter", "custom_id"),
        ("invalid_method", "method"),
        ("unsupported_parameter", "audio"),
        ("unknown_parameter", "nn"),
        ("invalid_value", "messages[0].role"),
        ("missing_required_parameter", "messages[0].content"),
        ("decimal_below_min_value", "top_p"),
        ("invalid_type", "n"),
    ]


def test_text_parts_are_joined_as_in_vllm():
    parts = [{"type": "text", "text": text} for text in ("a", "b")]
    request = parse_valid(with_message(content=parts, name="n"))
    assert request.body.messages[0].text() == "a\nb"


def test_the_model_is_optional_if_the_batch_has_one():
    assert problems_of(line(), model="m") == []
    assert problems_of(line(), None) == [("missing_required_parameter", "model")]


def test_the_first_line_without_a_problem_of_its_form_sets_the_model():
    parser = Parser(None)
    parser.parse(line(url="/v1", body={"messages": MESSAGES, "model": "bad"}), 1)
    parser.parse(with_body(model="first", temperature="hot"), 2)
    assert parser.model == "first"
    other = parser.parse(with_body(model="other", temperature="hot"), 3)
    assert isinstance(other, InvalidLine)
    assert [(one.code, one.param) for one in other.problems] == [
        ("mismatched_model", "body.model"),
        ("invalid_type", "temperature"),
    ]


@pytest.mark.parametrize("model", [None, "m", "org/m"])
def test_lines_may_use_any_name_of_the_batch_s_model(model):
    names = {"m": ("m", "org/m"), "org/m": ("m", "org/m"), "x": ("x",)}
    parser = Parser(model, names=names.__getitem__)
    for number, name in enumerate(("org/m", "m", "org/m"), 1):
        assert isinstance(parser.parse(with_body(model=name), number), Request)
    raw = with_body(model="m")
    assert parser.parse_fast([raw, with_body(model="org/m")], raw * 2) is not None
    assert isinstance(parser.parse(with_body(model="x"), 4), InvalidLine)


def test_a_model_that_differs_from_the_batch_is_an_error():
    assert problems_of(with_body(model="m")) == []
    assert problems_of(with_body(model="M")) == [("mismatched_model", "body.model")]
