"""Fields that are valid separately can contradict each other."""

import pytest

from tests.support.input_lines import MESSAGES, problems_of, with_body


def _tool(name):
    return {"type": "function", "function": {"name": name}}


_named = _tool
TOGETHER = {
    "several greedy choices": ({"n": 2, "temperature": 0}, "n"),
    "top_logprobs alone": ({"top_logprobs": 3}, "top_logprobs"),
    "top_logprobs of none": ({"top_logprobs": 3, "logprobs": False}, "top_logprobs"),
    "min_tokens above max_tokens": ({"min_tokens": 6, "max_tokens": 5}, "min_tokens"),
    "min_tokens with max_tokens 0": ({"min_tokens": 1, "max_tokens": 0}, "min_tokens"),
    "the newer name wins": (
        {"min_tokens": 6, "max_tokens": 9, "max_completion_tokens": 5},
        "min_tokens",
    ),
    "an unknown tool": (
        {"tools": [_tool("f")], "tool_choice": _named("g")},
        "tool_choice.function.name",
    ),
    "two formats": (
        {
            "response_format": {"type": "json_object"},
            "structured_outputs": {"regex": "a"},
        },
        "structured_outputs",
    ),
    "a format and a tool that must be called": (
        {
            "tools": [_tool("f")],
            "tool_choice": "required",
            "structured_outputs": {"regex": "a"},
        },
        "structured_outputs",
    ),
    "several choices with a generated turn": (
        {"n": 2, "messages": [*MESSAGES, {"role": "assistant", "generate": True}]},
        "n",
    ),
}


@pytest.mark.parametrize(("fields", "name"), TOGETHER.values(), ids=TOGETHER)
def test_contradicting_fields_are_an_error(fields, name):
    assert problems_of(with_body(**fields)) == [("invalid_value", f"{name}")]


AGREEING = [
    {"n": 2, "temperature": 0.01},
    {"n": 1, "temperature": 0},
    {"n": 1, "seed": 2**63 - 1},
    {"n": 2, "seed": 2**63 - 2},
    {"top_logprobs": 3, "logprobs": True},
    {"top_logprobs": 0},
    {"min_tokens": 5, "max_tokens": 5},
    {"min_tokens": 6, "max_tokens": 5, "max_completion_tokens": 6},
    {"min_tokens": 5},
    {"tools": [_tool("f")], "tool_choice": _named("f")},
    {"tools": [_tool("f")], "response_format": {"type": "json_object"}},
    {"tools": [_tool("f")], "structured_outputs": {"regex": "a"}},
    {"tool_choice": "none"},
    {"response_format": {"type": "text"}, "structured_outputs": {"regex": "a"}},
]


@pytest.mark.parametrize("fields", AGREEING)
def test_compatible_fields_are_valid(fields):
    assert problems_of(with_body(**fields)) == []


def _calling(arguments):
    call = {"name": "f", "arguments": arguments}
    calls = [{"id": "c", "type": "function", "function": call}]
    return with_body(messages=[*MESSAGES, {"role": "assistant", "tool_calls": calls}])


def _nested(levels):
    return '{"a": ' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


@pytest.mark.parametrize("arguments", [_nested(64), "", "{", "[" * 20, "7", "\\ud8"])
def test_arguments_that_a_template_can_render_are_valid(arguments):
    assert problems_of(_calling(arguments)) == []


@pytest.mark.parametrize(
    "arguments", [_nested(65), _nested(1200), "[" * 100_000, '{"a": "\\ud800"}']
)
def test_arguments_that_no_template_can_render_are_an_error(arguments):
    at = "messages[1].tool_calls[0].function.arguments"
    assert problems_of(_calling(arguments)) == [("invalid_value", at)]
