"""Estimates count prompt tokens and derive bounds from earlier batches."""

import json
from pathlib import Path

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.planning import estimator as module
from batchchat.jobs.planning.estimator import TokenCounter, model_history
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.requests.parser import Parser
from tests.support.running import ECHO, Bench, EchoRegistry, lines


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def counted(data, model="echo"):
    renderers = EchoRegistry(Catalog({"echo": ECHO}), Path())
    counter = TokenCounter(model, renderers, 1 << 20)
    counter.count([data])
    return counter.counted


def test_estimated_prompt_tokens_equal_those_of_a_run(bench):
    data = lines(600)
    state = bench.run(bench.submit(data))
    found = counted(data)
    assert found.input_tokens == state.usage().input_tokens
    assert found.max_output_tokens >= state.usage().output_tokens
    assert (found.requests, found.bytes, found.lines) == (600, len(data), [])


@pytest.mark.parametrize(("rows", "size"), [(1, 1 << 20), (64, 1), (7, 400), (64, 900)])
def test_the_block_size_does_not_change_the_counts(monkeypatch, rows, size):
    data = lines(300)
    whole = counted(data)
    monkeypatch.setattr(module, "_BLOCK_LINES", rows)
    monkeypatch.setattr(module, "_BLOCK_BYTES", size)
    assert counted(data) == whole


def test_invalid_and_overlong_lines_are_listed():
    data = lines(2) + b"{\n\n" + lines(1).replace(b"question 0", b"q" * 600) + lines(1)
    found = counted(data)
    assert found.lines == [3, 5]
    assert (found.requests, found.invalid, found.too_long) == (5, 1, 1)


def test_a_request_with_several_bad_turns_is_counted_once():
    turn = {"role": "assistant", "generate": True}
    long = {"role": "user", "content": "q" * 600}
    found = counted(lines(1, messages=[long, turn, long]))
    assert (found.too_long, found.lines, found.input_tokens) == (1, [1], 0)


def test_duplicate_lines_are_invalid():
    counter = TokenCounter("echo", EchoRegistry(Catalog({"echo": ECHO}), Path()), 999)
    counter.count([lines(2) + lines(1)], {3})
    assert (counter.counted.invalid, counter.counted.lines) == (1, [3])


def test_output_is_bounded_by_max_tokens_by_n_and_by_the_context():
    one = len("question 0")
    assert counted(lines(1, max_tokens=7, n=3)).max_output_tokens == 21
    assert counted(lines(1, max_tokens=100_000)).max_output_tokens == 512 - one


def test_later_turns_are_counted_without_earlier_answers():
    messages = [
        {"role": "user", "content": "abc"},
        {"role": "assistant", "generate": True},
        {"role": "user", "content": "defgh"},
    ]
    found = counted(lines(1, messages=messages, max_tokens=4))
    assert (found.input_tokens, found.turns, found.max_output_tokens) == (8, 1, 8)


def test_without_earlier_batches_there_is_no_history(bench):
    assert model_history(bench.ledger, ECHO) is None


def test_expectations_are_within_the_range_of_the_history(bench):
    ended = [bench.run(bench.submit(lines(30), seed=seed)) for seed in range(3)]
    past = model_history(bench.ledger, ECHO)
    assert past is not None
    each = [state.usage().output_tokens / 30 for state in ended]
    assert past.output_tokens == (min(each), max(each))
    assert (past.batches, past.requests) == (3, 90)
    found = counted(lines(60))
    low, high = past.expected_output_tokens(found)
    assert low <= high <= found.max_output_tokens
    assert (
        0
        < past.expected_engine_seconds(found).low
        <= past.expected_engine_seconds(found).high
    )


def test_batches_of_another_model_are_no_history(bench):
    bench.run(bench.submit(lines(3)))
    assert model_history(bench.ledger, ECHO.__class__(name="other", source="o")) is None


def test_prompts_are_counted_together_as_they_are_alone(demo_renderers):
    texts = ["a", "", "the licence of the software, as is"] * 9 + ["</s> of"]
    raws = [
        json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
        for text in texts
    ]
    renderer = demo_renderers.get("demo")
    requests = [Parser("demo").parse(raw, n) for n, raw in enumerate(raws, 1)]
    prompts = [(request, renderer.render(request)) for request in requests]
    alone = [len(renderer.tokenize(*prompt)) for prompt in prompts]
    assert renderer.count_tokens(prompts) == alone
    renderer.count_many = None
    assert renderer.count_tokens(prompts) == alone


@pytest.fixture
def demo_renderers(tmp_path):
    from batchchat.jobs.catalog.catalog import load_catalog

    return RendererRegistry(load_catalog(), tmp_path)
