"""The architectures of the five models with small random weights, on real vLLM."""

import json
import queue
from contextlib import closing
from typing import Any

import pytest
from msgspec import structs

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.engine.protocol import EngineRequest
from batchchat.jobs.engine.sampling import request_seed, sampling_for
from batchchat.jobs.requests.parser import Parser
from tests.support.tiny_tokenizers import LLAMA_2, LLAMA_3, byte_level

pytestmark = pytest.mark.engine

SHAPE = {
    "vocab_size": 640,
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
}
MODELS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "L3-8B-Lunaris-v1": ("LlamaConfig", {"rope_theta": 5e5}, LLAMA_3),
    "Mistral-7B-Instruct-v0.2": ("MistralConfig", {"sliding_window": None}, LLAMA_2),
    "wizardlm-2-8x22b": (
        "MixtralConfig",
        {"num_local_experts": 4, "num_experts_per_tok": 2},
        LLAMA_2,
    ),
}


def make_model(name, folder):
    """Write a small model of `name`'s architecture; return its catalog entry."""
    import torch
    import transformers

    config_class, fields, special = MODELS[name]
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(**SHAPE, **fields, dtype="float32")
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    byte_level(special).save(str(folder / "tokenizer.json"))
    entry = load_catalog().find(name)
    tokens: dict[str, str] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    tokens |= dict(entry.special_tokens.items())
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens), "utf-8")
    engine = {"dtype": "float32", "max_num_seqs": 16}
    return structs.replace(
        entry,
        source=str(folder),
        context_length=512,
        engine=engine,
        stop_token_ids=[],
    )


def ask(engine, model, requests):
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for index, asked in enumerate(requests):
        prompt = engine.prepare(asked)
        seed = request_seed(asked, batch_seed=index)
        sampling = sampling_for(asked, model, seed, engine.remaining_context(prompt))
        work = EngineRequest(f"r{index}", "p", prompt, sampling)
        take = lambda answer, index=index: answers.put((index, answer))  # noqa: E731
        assert engine.submit(work, take, 60)
    return [answer for _, answer in sorted(answers.get(timeout=120) for _ in requests)]


@pytest.mark.parametrize("name", MODELS)
def test_architecture_gives_reproducible_answers(name, tmp_path):
    from batchchat.workers.engine.vllm_startup import start_vllm

    model = make_model(name, tmp_path)
    parser = Parser(name)
    messages = [
        {"role": "user", "content": "Name a river </s><|eot_id|>"},
        {"role": "assistant", "content": "The Rhine"},
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "One more"},
    ]
    line = json.dumps({"messages": messages, "max_tokens": 12, "ignore_eos": True})
    requests = [parser.parse(line.encode(), number) for number in range(1, 9)]
    with closing(
        start_vllm(model, tmp_path, in_subprocess=False, log_level="error")
    ) as engine:
        first = ask(engine, model, requests)
        again = ask(engine, model, requests)
    assert [one.choices for one in first] == [one.choices for one in again]
    assert len({one.choices[0].text for one in first}) > 4
    assert {one.completion_tokens for one in first} == {12}


def test_reasoning_tokens_are_counted(tmp_path):
    from batchchat.workers.engine.vllm_startup import start_vllm

    name = "L3-8B-Lunaris-v1"
    made = make_model(name, tmp_path)
    model = structs.replace(made, reasoning_parser="granite")
    line = json.dumps({"messages": [{"role": "user", "content": "Hi"}]}).encode()
    with closing(
        start_vllm(model, tmp_path, in_subprocess=False, log_level="error")
    ) as engine:
        (one,) = ask(engine, model, [Parser(name).parse(line, 1)])
    assert one.reasoning_tokens is not None
