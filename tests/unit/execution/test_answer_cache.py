"""Requests that must have the same answer are computed once."""

import json
from random import Random
from typing import Any

import pytest

from batchchat.jobs.engine.protocol import Choice, Completion
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.execution.answer_cache import AnswerCache
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.engine.echo_core import EchoCore
from tests.support.running import SETTINGS, Bench, lines, renderer, text


class Counted(EchoCore):
    """An echo engine that records its requests."""

    def __init__(self, asked, **speed):
        super().__init__(**speed)
        self._asked = asked

    def add(self, work):
        self._asked.append(work.prompt.text)
        if work.prompt.text == "question 9":
            raise RequestRefusedError("no", code="invalid_value", param="body")
        super().add(work)


@pytest.fixture
def asked():
    """The prompts that the engine received."""
    return []


@pytest.fixture
def bench(tmp_path, asked):
    settings = SETTINGS.model_copy(update={"shard_requests": 100})
    return Bench(tmp_path, settings=settings, start_engine=lambda _: started(asked))


def started(asked):
    engine = EngineDriver(lambda: Counted(asked, latency=0.001), renderer())
    engine.start()
    return engine


def questions(numbers, **body):
    """Return a file with the questions of those numbers, each with its own id."""
    each = lines(max(numbers) + 1, **body).splitlines()
    asked = [json.loads(each[number]) for number in numbers]
    named = [line | {"custom_id": f"n-{n}"} for n, line in enumerate(asked)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in named)


NUMBERS = [0, 1, 1, 2, 0, 3, 3, 3, 4, 5, 0, 1]


@pytest.mark.parametrize("body", [{"temperature": 0}, {"seed": 7}])
def test_greedy_or_equally_seeded_duplicates_are_computed_once(bench, asked, body):
    state = bench.run(bench.submit(questions(NUMBERS, max_tokens=9, **body)))
    output, _ = bench.results(state)
    assert len(asked) == len({*asked}) == 6
    assert [r["custom_id"] for r in output] == [f"n-{n}" for n in range(len(NUMBERS))]
    assert len({r["id"] for r in output}) == len(NUMBERS)
    answers: dict[int, Any] = {}
    for number, result in zip(NUMBERS, output, strict=True):
        usage = result["response"]["body"]["usage"]
        assert answers.setdefault(number, (text(result), usage)) == (
            text(result),
            usage,
        )
    assert state.usage().output_tokens == sum(
        r["response"]["body"]["usage"]["completion_tokens"] for r in output
    )


def test_answers_are_shared_between_shards(bench, asked):
    bench.settings = SETTINGS.model_copy(update={"shard_requests": 1})
    bench.run(bench.submit(questions([0] * 100, temperature=0)))
    assert len(asked) < 100


def test_sampled_requests_without_a_seed_are_not_deduplicated(bench, asked):
    bench.run(bench.submit(questions(NUMBERS)))
    assert len(asked) == len(NUMBERS)


def test_requests_with_different_parameters_are_not_duplicates(bench, asked):
    data = [
        questions([0], temperature=0),
        questions([0], temperature=0, max_tokens=5),
        questions([0], temperature=0, logprobs=True),
        questions([0], temperature=0, response_format={"type": "json_object"}),
        questions([0], seed=1),
        questions([0], seed=2),
    ]
    named = [part.replace(b"n-0", b"n-%d" % n) for n, part in enumerate(data)]
    bench.run(bench.submit(b"".join(named)))
    assert len(asked) == 6


def test_deduplication_can_be_disabled(bench, asked):
    bench.settings = bench.settings.model_copy(update={"deduplicate_requests": False})
    bench.run(bench.submit(questions(NUMBERS, temperature=0)))
    assert len(asked) == len(NUMBERS)


def test_a_resumed_run_answers_every_duplicate_once(bench):
    numbers = Random(3).choices(range(8), k=60)
    batch_id = bench.submit(questions(numbers, temperature=0, max_tokens=9))
    bench.stop.request(0.05)
    bench.run(batch_id)
    bench.stop = type(bench.stop)()
    output, errors = bench.results(bench.run(batch_id))
    assert [r["custom_id"] for r in output] == [f"n-{n}" for n in range(60)]
    assert errors == []


def test_every_duplicate_of_a_rejected_request_is_an_error(bench, asked):
    batch_id = bench.submit(questions([9, 9, 9], temperature=0))
    output, errors = bench.results(bench.run(batch_id))
    assert (output, len(asked)) == ([], 1)
    assert [error["custom_id"] for error in errors] == ["n-0", "n-1", "n-2"]
    assert {error["response"]["status_code"] for error in errors} == {400}


def answer(size, **more):
    choices = [Choice(index=0, text="x" * size, finish_reason="stop", **more)]
    return Completion(choices=choices, prompt_tokens=1, completion_tokens=1)


def test_the_cache_is_bounded_and_drops_the_least_recently_used():
    answer_cache = AnswerCache(max_bytes=11_000)
    for name in (b"a", b"b"):
        answer_cache.put(name, answer(2_000))
    assert answer_cache.get(b"a")
    answer_cache.put(b"c", answer(2_000))
    assert [bool(answer_cache.get(name)) for name in (b"a", b"b", b"c")] == [1, 0, 1]


def test_answers_with_log_probabilities_are_not_cached():
    answer_cache = AnswerCache()
    answer_cache.put(b"a", answer(1, logprobs=[{}]))
    assert answer_cache.get(b"a") is None
