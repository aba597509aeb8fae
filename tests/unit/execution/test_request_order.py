"""Requests with a common prefix are submitted one after the other."""

import random

from batchchat.jobs.execution.request_order import order_requests
from batchchat.jobs.requests.parser import Parser
from tests.support.input_lines import line, with_body


def asked(system, user, **fields):
    return with_body(
        messages=[
            {"role": "system", "content": system},
            {"role": "user", "content": user},
        ],
        **fields,
    )


def order(raws, *, longest_first=False):
    """Return the line numbers in the order of submission."""
    parser = Parser("m")
    parsed = [parser.parse(raw, number) for number, raw in enumerate(raws, 1)]
    return [one.line for one in order_requests(parsed, longest_first=longest_first)]


def long(name):
    return f"You are {name}. " + "Answer well. " * 50


def test_requests_with_a_shared_prefix_are_grouped():
    raws = [asked(long(name), f"question {n}") for n, name in enumerate("abcabcab")]

    assert order(raws) == [1, 4, 7, 2, 5, 8, 3, 6]


def test_within_a_group_longer_shared_prefixes_are_adjacent():
    raws = [
        asked(long("a"), document + question)
        for question in ("who?", "when?")
        for document in ("first text ", "other text ")
    ]

    assert order(raws) == [3, 1, 4, 2]


def test_short_shared_prefixes_are_not_grouped():
    source = random.Random(1)
    raws = [asked("Be short.", f"{source.random()}") for _ in range(50)]

    assert order(raws) == list(range(1, 51))


def test_different_long_prefixes_keep_their_order():
    raws = [asked(long(f"{n:03}"), "?") for n in (5, 3, 9, 1)]

    assert order(raws) == [1, 2, 3, 4]


def test_invalid_lines_keep_their_order():
    raws = [
        asked(long("b"), "1"),
        line(method="PUT"),
        asked(long("a"), "2"),
        asked(long("b"), "3"),
    ]

    assert order(raws) == [1, 4, 2, 3]


def test_identical_prompts_keep_their_order():
    assert order([asked(long("a"), "?")] * 5) == [1, 2, 3, 4, 5]


def test_tools_are_part_of_the_prefix():
    def with_tool(name, text):
        tool = {
            "type": "function",
            "function": {"name": name, "description": "x" * 600},
        }
        return with_body(messages=[{"role": "user", "content": text}], tools=[tool])

    assert order([with_tool(name, "?") for name in "abab"]) == [1, 3, 2, 4]


SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
TOOL = {"type": "function", "function": {"name": "f"}}


def test_requests_with_a_grammar_come_last():
    raws = [
        with_body(response_format=SCHEMA),
        with_body(tools=[TOOL], tool_choice="required"),
        with_body(structured_outputs={"regex": "a"}),
        line(method="PUT"),
        with_body(response_format={"type": "json_object"}),
        with_body(tools=[TOOL], tool_choice="auto"),
        with_body(),
    ]

    assert order(raws) == [4, 5, 6, 7, 1, 2, 3]


def test_longest_first_sorts_by_the_token_limit():
    allowed = [8, 512, 64, 512, 8]
    raws = [with_body(max_tokens=tokens) for tokens in allowed]
    raws[2] = with_body(max_completion_tokens=64)
    raws += [line(method="PUT"), with_body()]

    assert order(raws, longest_first=True) == [7, 2, 4, 3, 1, 5, 6]
    assert order(raws) == [1, 2, 3, 4, 5, 6, 7]


def test_the_limit_of_a_conversation_is_the_sum_of_its_turns():
    generated = {"role": "assistant", "generate": True}
    turn = {"role": "user", "content": "?"}
    raws = [
        with_body(max_tokens=30),
        with_body(messages=[turn, generated, turn, generated], max_tokens=20),
        with_body(messages=[turn, generated], max_tokens=35),
    ]

    assert order(raws, longest_first=True) == [2, 3, 1]


def test_a_group_is_sorted_by_its_longest_request():
    raws = [
        asked(long("a"), "1", max_tokens=8),
        asked(long("b"), "2", max_tokens=16),
        asked(long("a"), "3", max_tokens=32),
    ]

    assert order(raws, longest_first=True) == [1, 3, 2]


def test_a_grammar_comes_last_even_with_longest_first():
    raws = [
        with_body(response_format=SCHEMA, max_tokens=500),
        with_body(max_tokens=5),
    ]

    assert order(raws, longest_first=True) == [2, 1]
