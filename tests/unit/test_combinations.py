"""Fields that are right by themselves and wrong together."""

import pytest

from tests.unit.input_lines import with_body, wrong

TOGETHER = {
    "several children of a greedy one": ({"n": 2, "temperature": 0}, "n"),
    "a last child past the seeds": ({"n": 2, "seed": 2**63 - 1}, "seed"),
    "top_logprobs alone": ({"top_logprobs": 3}, "top_logprobs"),
    "top_logprobs of none": ({"top_logprobs": 3, "logprobs": False}, "top_logprobs"),
    "least over most": ({"min_tokens": 6, "max_tokens": 5}, "min_tokens"),
    "least over none": ({"min_tokens": 1, "max_tokens": 0}, "min_tokens"),
    "the newer name wins": (
        {"min_tokens": 6, "max_tokens": 9, "max_completion_tokens": 5},
        "min_tokens",
    ),
}


@pytest.mark.parametrize(("fields", "name"), TOGETHER.values(), ids=TOGETHER)
def test_fields_that_disagree(fields, name):
    assert wrong(with_body(**fields)) == [("invalid_value", f"body.{name}")]


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
]


@pytest.mark.parametrize("fields", AGREEING)
def test_fields_that_just_agree(fields):
    assert wrong(with_body(**fields)) == []
