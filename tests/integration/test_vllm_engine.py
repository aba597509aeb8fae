"""The vLLM engine with its core in this process, on the demo model."""

import json
import queue
from typing import Any

import pytest

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.engine.protocol import Completion, EngineRequest
from batchchat.jobs.engine.sampling import (
    Sampling,
    nth_seed,
    request_seed,
    sampling_for,
)
from batchchat.jobs.errors import EngineError, RequestRefusedError
from batchchat.jobs.requests.parser import Parser

pytestmark = pytest.mark.engine

MODEL = load_catalog().find("demo")


def request(content="Tell me a story", **body):
    line = json.dumps({"messages": [{"role": "user", "content": content}], **body})
    return Parser("demo").parse(line.encode(), 1)


def ask(engine, requests):
    """Return the answers to `requests` in the order of the requests."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for index, asked in enumerate(requests):
        prompt = engine.prepare(asked)
        seed = request_seed(asked, batch_seed=index)
        sampling = sampling_for(asked, MODEL, seed, engine.remaining_context(prompt))
        work = EngineRequest(f"r{index}", "p", prompt, sampling)
        take = lambda answer, index=index: answers.put((index, answer))  # noqa: E731
        while not engine.submit(work, take, 1):
            pass
    return [answer for _, answer in sorted(answers.get(timeout=120) for _ in requests)]


def texts(answers):
    return [choice.text for answer in answers for choice in answer.choices]


def test_answer_has_the_requested_number_of_tokens(engine):
    (answer,) = ask(engine, [request(max_tokens=12, ignore_eos=True)])
    assert answer.completion_tokens == 12
    assert answer.choices[0].finish_reason == "length"
    assert answer.prompt_tokens == len(engine.prepare(request()).token_ids)


def test_engine_seconds_of_answers_sum_to_a_plausible_time(engine):
    answers = ask(engine, [request(max_tokens=8) for _ in range(8)])
    assert 0 < sum(answer.engine_seconds for answer in answers) < 60


def test_seeded_text_is_independent_of_concurrent_requests(engine):
    requests = [request(f"Question {i}", max_tokens=24, seed=i) for i in range(24)]
    together = texts(ask(engine, requests))
    alone = [text for one in requests for text in texts(ask(engine, [one]))]
    assert together == alone


def test_greedy_text_is_independent_of_the_seed(engine):
    asked = [request(max_tokens=16, temperature=0, seed=seed) for seed in (1, 2)]
    first, second = texts(ask(engine, asked))
    assert first == second


def test_n_choices_differ(engine):
    (answer,) = ask(engine, [request(n=3, max_tokens=16, ignore_eos=True)])
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len(set(texts([answer]))) == 3
    assert answer.completion_tokens == 48


def test_each_choice_has_the_answer_of_its_own_seed(engine):
    (answer,) = ask(engine, [request(n=3, seed=5, max_tokens=16)])
    seeds = [nth_seed(5, index) for index in range(3)]
    alone = ask(engine, [request(seed=seed, max_tokens=16) for seed in seeds])
    assert texts([answer]) == texts(alone)


def test_neighbouring_seeds_have_no_choices_in_common(engine):
    asked = [request(n=8, seed=seed, max_tokens=16) for seed in range(8)]
    assert len(set(texts(ask(engine, asked)))) == 64


def test_stop_string_ends_the_text_and_is_excluded(engine):
    (free,) = ask(engine, [request(max_tokens=64, seed=3)])
    word = free.choices[0].text.split()[3]
    (stopped,) = ask(engine, [request(max_tokens=64, seed=3, stop=word)])
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].stop_reason == word
    assert word not in stopped.choices[0].text


def test_every_token_has_logprobs_and_alternatives(engine):
    asked = request(max_tokens=5, ignore_eos=True, logprobs=True, top_logprobs=3)
    (answer,) = ask(engine, [asked])
    tokens = answer.choices[0].logprobs
    assert len(tokens) == 5
    assert all(len(token["top_logprobs"]) == 3 for token in tokens)
    assert all(token["logprob"] <= 0 for token in tokens)


def test_logit_bias_changes_the_text(engine):
    token = engine.prepare(request("a")).token_ids[0] + 100
    asked = request(max_tokens=4, logit_bias={str(token): 100}, temperature=0)
    (answer,) = ask(engine, [asked])
    (plain,) = ask(engine, [request(max_tokens=4, temperature=0)])
    assert texts([answer]) != texts([plain])


def test_many_seeded_requests_with_long_prompts_complete(engine):
    # With chunked prefill, vLLM's default, they crash the CPU engine.
    words = "over and over again " * 60
    requests = [request(f"{i} {words}", max_tokens=4, seed=i) for i in range(40)]
    assert all(isinstance(answer, Completion) for answer in ask(engine, requests))


def test_answer_ends_at_the_context_length(engine):
    (answer,) = ask(engine, [request("word " * 900, ignore_eos=True)])
    assert answer.prompt_tokens + answer.completion_tokens == MODEL.context_length
    assert answer.choices[0].finish_reason == "length"


def test_prompt_longer_than_the_context_is_refused(engine):
    with pytest.raises(RequestRefusedError) as caught:
        engine.prepare(request("word " * 3000))
    assert caught.value.code == "context_length_exceeded"


def test_token_outside_the_vocabulary_is_refused(engine):
    with pytest.raises(RequestRefusedError, match="999999"):
        engine.prepare(request(logit_bias={"999999": 1}))


def test_request_that_vllm_refuses_does_not_affect_others(engine):
    good = request(max_tokens=4)
    prompt = engine.prepare(good)
    bad = EngineRequest("bad", "p", prompt, Sampling(max_tokens=4, seed=1, top_p=7.0))
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    assert engine.submit(bad, answers.put, 5)
    assert isinstance(answers.get(timeout=30), RequestRefusedError)
    assert isinstance(ask(engine, [good])[0], Completion)


def test_aborted_requests_free_their_slots_and_get_no_answer(engine):
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    prompt = engine.prepare(request())
    sampling = Sampling(max_tokens=1500, seed=1, ignore_eos=True)
    keys = [f"long-{index}" for index in range(engine.capacity)]
    for key in keys:
        assert engine.submit(EngineRequest(key, "p", prompt, sampling), answers.put, 5)
    assert not engine.submit(
        EngineRequest("more", "p", prompt, sampling), answers.put, 0.1
    )
    engine.abort(keys)
    assert isinstance(ask(engine, [request(max_tokens=2)])[0], Completion)
    assert answers.empty()


def test_finish_reason_abort_is_an_error():
    from types import SimpleNamespace as Bag

    from batchchat.workers.engine.vllm_output import AnswerBuilder

    one = Bag(index=0, text="half a", token_ids=[1], finish_reason="abort")
    output = Bag(outputs=[one], prompt_token_ids=[1], num_cached_tokens=0)
    builder = AnswerBuilder(Bag(logprobs=None), None)
    assert isinstance(builder.build(output), EngineError)
