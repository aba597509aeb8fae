"""Each field of a request has its documented effect on answers of real vLLM."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from batchchat.jobs.requests.extra_fields import IGNORED_FIELDS
from batchchat.jobs.requests.parameters import PARAMETERS
from tests.integration.chat_batches import NAMED, TOOLS, answer, choice

pytestmark = pytest.mark.engine

A, B, END = 70, 71, 1
"""Tokens of the demo model: two letters and the end-of-sequence token."""


def text(result):
    return choice(result)["message"]["content"]


def tokens(result):
    return answer(result)["usage"]["completion_tokens"]


def prompt_tokens(result):
    return answer(result)["usage"]["prompt_tokens"]


def why(result):
    return choice(result)["finish_reason"]


def calls(result):
    return choice(result)["message"].get("tool_calls") or []


def listed(result):
    return choice(result)["logprobs"]["content"]


def same(one, other):
    return text(one) == text(other)


def differ(one, other):
    return text(one) != text(other)


def longer_prompt(one, other):
    return prompt_tokens(one) < prompt_tokens(other)


def seeds(**body):
    return [body | {"seed": seed} for seed in (1, 2)]


LETTERS = {"allowed_token_ids": [A, B]}
ENDS = {"allowed_token_ids": [END], "ignore_eos": True}
GREEDY = {"temperature": 0, "max_tokens": 99, "ignore_eos": True}
MUST = {"tools": TOOLS, "tool_choice": "required", "max_tokens": 200}
PLACE = TOOLS[0]["function"]["parameters"]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE}}

LAWS: dict[str, tuple[list[dict[str, Any]], Callable[..., object]]] = {
    "temperature": (seeds(temperature=0), same),
    "top_p": (seeds(top_p=1e-6), same),
    "min_p": (seeds(min_p=1), same),
    "top_k": (seeds(top_k=1), same),
    "max_tokens": (
        [{"max_tokens": 5, "ignore_eos": True}],
        lambda one: (tokens(one), why(one)) == (5, "length"),
    ),
    "max_completion_tokens": (
        [{"max_completion_tokens": 5, "max_tokens": 9, "ignore_eos": True}],
        lambda one: tokens(one) == 5,
    ),
    "min_tokens": (
        [LETTERS | {"stop": ["a", "b"]} | more for more in ({}, {"min_tokens": 6})],
        lambda one, other: tokens(one) == 1 and tokens(other) >= 6,
    ),
    "presence_penalty": ([GREEDY, GREEDY | {"presence_penalty": 2}], differ),
    "frequency_penalty": ([GREEDY, GREEDY | {"frequency_penalty": 2}], differ),
    "repetition_penalty": ([GREEDY, GREEDY | {"repetition_penalty": 5}], differ),
    "seed": (
        # with logprobs, the second request is no duplicate of the first
        [{"seed": 1}, {"seed": 1, "logprobs": True}, {"seed": 2}],
        lambda one, again, other: same(one, again) and differ(one, other),
    ),
    "n": (
        [{"n": 3}],
        lambda one: len({c["message"]["content"] for c in answer(one)["choices"]}) == 3,
    ),
    "stop": (
        [LETTERS, LETTERS | {"stop": "ab"}],
        lambda one, cut: text(cut) == text(one).partition("ab")[0] != text(one),
    ),
    "stop_token_ids": (
        [{"allowed_token_ids": [A], "stop_token_ids": [A]}],
        lambda one: (tokens(one), choice(one)["stop_reason"]) == (1, A),
    ),
    "allowed_token_ids": ([LETTERS], lambda one: {*text(one)} == {*"ab"}),
    "bad_words": (
        [LETTERS | {"bad_words": ["a"]}],
        lambda one: {*text(one)} == {"b"},
    ),
    "logit_bias": (
        [{"logit_bias": {str(A): 100}}],
        lambda one: {*text(one)} == {"a"},
    ),
    "logprobs": (
        [{"logprobs": True, "ignore_eos": True}],
        lambda one: len(listed(one)) == tokens(one),
    ),
    "top_logprobs": (
        [{"logprobs": True, "top_logprobs": 4}],
        lambda one: {len(token["top_logprobs"]) for token in listed(one)} == {4},
    ),
    "ignore_eos": (
        [{"allowed_token_ids": [END]}, ENDS],
        lambda one, other: (tokens(one), tokens(other)) == (1, 24),
    ),
    "skip_special_tokens": (
        [ENDS, ENDS | {"skip_special_tokens": False}],
        lambda one, other: not text(one) and text(other),
    ),
    "spaces_between_special_tokens": (
        [
            ENDS | {"skip_special_tokens": False, "spaces_between_special_tokens": it}
            for it in (True, False)
        ],
        same,
    ),
    "include_stop_str_in_output": (
        [LETTERS | {"stop": "ab", "include_stop_str_in_output": True}],
        lambda one: text(one).endswith("ab"),
    ),
    "tools": ([{}, {"tools": TOOLS}], longer_prompt),
    "tool_choice": (
        [{"tools": TOOLS, "tool_choice": NAMED, "max_tokens": 200}],
        lambda one: calls(one)[0]["function"]["name"] == "weather",
    ),
    "parallel_tool_calls": (
        [MUST | {"parallel_tool_calls": False}],
        lambda one: len(calls(one)) == 1,
    ),
    "response_format": (
        [{"response_format": SCHEMA, "max_tokens": 200}],
        lambda one: json.loads(text(one)).keys() == {"city", "days"},
    ),
    "structured_outputs": (
        [{"structured_outputs": {"choice": ["yes", "no"]}}],
        lambda one: text(one) in ("yes", "no"),
    ),
    "reasoning_effort": ([{}, {"reasoning_effort": "low"}], longer_prompt),
    "chat_template_kwargs": (
        [{}, {"chat_template_kwargs": {"thinking": True}}],
        longer_prompt,
    ),
}
"""By field: request bodies, and a predicate that their answers satisfy."""

IGNORED = {
    "stream": True,
    "user": "anyone",
    "metadata": {"night": "3"},
    "store": True,
    "service_tier": "flex",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "stream_options": {"include_usage": True},
}


@pytest.fixture(scope="module")
def answers(batches):
    bodies = [body for some, _ in LAWS.values() for body in some]
    asked = [{"max_tokens": 24} | body for body in bodies]
    results = iter(batches.run(*asked))
    return {field: [next(results) for _ in some] for field, (some, _) in LAWS.items()}


@pytest.mark.parametrize("field", LAWS)
def test_field_has_its_documented_effect(answers, field):
    _, law = LAWS[field]
    assert law(*answers[field]), [choice(one) for one in answers[field]]


def test_every_effective_field_is_covered():
    used = {name for name, parameter in PARAMETERS.items() if parameter.has_effect}
    assert LAWS.keys() == used - {"include_reasoning"}  # which needs a reasoning model


def test_ignored_fields_have_no_effect(batches):
    unused = {name for name, known in PARAMETERS.items() if not known.has_effect}
    assert IGNORED.keys() == unused
    extra = dict.fromkeys(IGNORED_FIELDS, "x")
    few = {
        "max_tokens": 8,
        "logprobs": True,
    }  # without logprobs it would be a duplicate
    one, other = batches.run({"max_tokens": 8}, IGNORED | extra | few)
    assert same(one, other)
