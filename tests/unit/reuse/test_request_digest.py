"""Which differences between two requests make their answers different."""

import json

import pytest

from batchchat.jobs.engine.sampling import derived_seed
from batchchat.jobs.requests.parser import InvalidLine, Parser
from batchchat.jobs.reuse.request_digest import request_digest

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
MESSAGES = [{"role": "user", "content": "Hello"}]


def digest(
    body=None, custom_id="a", *, seed=1, time=None, reads_time=False, bare=False
):
    fields = {"messages": MESSAGES} | (body or {})
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions"}
    whole = {"custom_id": custom_id} | fields if bare else line | {"body": fields}
    parser = Parser("m", names=lambda _: ("m", "alias"), time=time)
    request = parser.parse(json.dumps(whole).encode(), 1)
    assert not isinstance(request, InvalidLine), request
    return request_digest(request, seed, reads_time=reads_time)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m"},
        {"model": "alias"},
        {"metadata": {"a": "b"}},
        {"user": "someone"},
        {"stream": True},
        {"store": False},
        {"temperature": 1},
        {"temperature": None},
        {"top_p": 1.0},
        {"top_k": -1},
        {"n": 1},
        {"skip_special_tokens": True},
        {"stop": None},
        {"seed": None},
    ],
    ids=str,
)
def test_fields_without_effect_and_default_values_do_not_count(body):
    assert digest(body) == digest()


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "Hello "}]},
        {"messages": [{"role": "system", "content": "Hello"}]},
        {"messages": [*MESSAGES, {"role": "assistant", "generate": True}]},
        {"temperature": 0.5},
        {"temperature": 0},
        {"top_p": 0.5},
        {"n": 2},
        {"max_tokens": 5},
        {"stop": "x"},
        {"logprobs": True},
        {"seed": 5},
        {"logit_bias": {"5": 1}},
        {"tools": [TOOL]},
        {"response_format": {"type": "json_object"}},
        {"reasoning_effort": "low"},
        {"chat_template_kwargs": {"a": 1}},
        {"ignore_eos": True},
    ],
    ids=str,
)
def test_whatever_changes_the_answer_counts(body):
    assert digest(body) != digest()


def test_the_same_request_in_either_form_of_a_line_has_one_digest():
    body = {"temperature": 0.5, "max_completion_tokens": 9, "stop": "x"}
    other = {"temperature": 0.5, "max_tokens": 9, "stop": ["x"]}
    assert digest(body) == digest(other, bare=True)


def test_a_sampled_request_without_a_seed_depends_on_its_batch_and_custom_id():
    assert digest() == digest()
    assert digest() != digest(seed=2)
    assert digest() != digest(custom_id="b")


def test_a_greedy_request_depends_on_neither():
    greedy = {"temperature": 0}
    assert digest(greedy) == digest({"temperature": 0.0, "seed": 7}, "b", seed=2)


def test_a_request_with_a_seed_depends_on_that_alone():
    assert digest({"seed": 7}) == digest({"seed": 7}, "b", seed=2)


def test_a_derived_seed_and_the_same_explicit_seed_are_equal():
    assert digest() == digest({"seed": derived_seed(1, "a")}, "b", seed=2)


@pytest.mark.parametrize("reads_time", [True, False])
def test_the_time_counts_only_if_templates_read_it(reads_time):
    same = digest(time=1, reads_time=reads_time) == digest(
        time=2, reads_time=reads_time
    )
    assert same is not reads_time
