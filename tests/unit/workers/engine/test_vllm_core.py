"""An error in vLLM's request handling fails one request only; runs without vLLM."""

from types import SimpleNamespace as Bag
from typing import Any

import pytest

from batchchat.jobs.engine.protocol import EngineRequest
from batchchat.jobs.engine.sampling import Sampling
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.prompts.renderer import Prompt
from batchchat.workers.engine.cache_salts import CacheSalts
from batchchat.workers.engine.vllm_core import VllmCore
from batchchat.workers.engine.vllm_output import AnswerBuilder

WORK = EngineRequest("k", "p", Prompt("hi", [1, 2]), Sampling(max_tokens=2, seed=1))


def core(**parts):
    """Return a core that consists of `parts` only."""
    one = VllmCore.__new__(VllmCore)
    one._tokens_input = lambda ids, prompt, cache_salt: (ids, prompt, cache_salt)
    one._cache_salts = CacheSalts()
    one._dead_error = ConnectionError
    one._builders, one._detokenizer = {}, None
    for name, part in parts.items():
        setattr(one, name, part)
    return one


def failing(*_):
    raise KeyError("vocabulary")


def test_unreadable_constraints_refuse_the_request():
    with pytest.raises(RequestRefusedError):
        core(_parsers=Bag(create=failing)).add(WORK)


def test_refusal_keeps_its_code_and_parameter():
    def create(_form):
        raise RequestRefusedError("no", code="tools_unknown", param="tools")

    with pytest.raises(RequestRefusedError) as raised:
        core(_parsers=Bag(create=create)).add(WORK)
    assert (raised.value.code, raised.value.param) == ("tools_unknown", "tools")


def test_answer_whose_reasoning_cannot_be_counted_is_an_error():
    chat: Any = Bag(
        hides_logprobs=False,
        has_reasoning=True,
        parse=lambda _: {},
        reasoning_tokens=failing,
    )
    one = Bag(
        index=0,
        text="a",
        token_ids=[1],
        finish_reason="stop",
        stop_reason=None,
        logprobs=None,
    )
    output = Bag(
        request_id="k",
        outputs=[one],
        prompt_token_ids=[1],
        num_cached_tokens=0,
        finished=True,
    )
    builder = AnswerBuilder(Bag(detokenize=True, logprobs=None), chat)
    half = core(_builders={"k": builder}, _llm=Bag(step=lambda: [output]))
    [(key, answer)] = half.step()
    assert key == "k"
    assert isinstance(answer, RequestRefusedError)
