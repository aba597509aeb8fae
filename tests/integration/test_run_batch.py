"""batchchat and vLLM's own `run-batch` give the same answers to the same lines."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.catalog.demo_model import demo_model
from batchchat.jobs.engine.sampling import nth_seed
from tests.integration.chat_batches import NAMED, TOOLS, answer, full
from tools.requests_page import NOTES

pytestmark = pytest.mark.engine

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Tell me of rivers"}
CALL = {
    "id": "call-1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Ulm", "days": 2}'},
}
CALLED = [
    USER,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call-1", "content": "rain"},
    {"role": "user", "content": "And then?"},
]
PARTS = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
SCHEMA = {"name": "place", "schema": TOOLS[0]["function"]["parameters"]}

BODIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "greedy": {"temperature": 0},
    "nearly greedy": {"temperature": 0.001},
    "warm": {"temperature": 1.7, "top_p": 0.8},
    "top_k": {"top_k": 5},
    "min_p": {"min_p": 0.2},
    "penalties": {"presence_penalty": 1.5, "frequency_penalty": 1, "top_k": 20},
    "repetition": {"repetition_penalty": 1.4, "temperature": 0},
    "n": {"n": 3},
    "system": {"messages": [SYSTEM, USER]},
    "developer": {"messages": [SYSTEM | {"role": "developer"}, USER]},
    "content parts": {"messages": [{"role": "user", "content": PARTS}]},
    "stop": {"stop": ["e", "a"]},
    "stop, included": {"stop": "e", "include_stop_str_in_output": True},
    "stop token": {"stop_token_ids": list(range(300, 500))},
    "min_tokens": {"stop": ["e"], "min_tokens": 8},
    "ignore_eos": {"ignore_eos": True},
    "bad words": {"bad_words": ["e", "the"]},
    "allowed tokens": {"allowed_token_ids": [70, 71, 72]},
    "logit_bias": {"logit_bias": {"70": 100, "71": 99.5}},
    "logprobs": {"logprobs": True, "top_logprobs": 4},
    "logprobs of n": {"logprobs": True, "n": 2},
    "special tokens": {"skip_special_tokens": False, "ignore_eos": True},
    "no spaces": {
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "ignore_eos": True,
    },
    "effort": {"reasoning_effort": "low"},
    "thinking": {"chat_template_kwargs": {"enable_thinking": False}},
    "the newer limit": {"max_completion_tokens": 5, "max_tokens": 9},
    "json object": {"response_format": {"type": "json_object"}},
    "json schema": {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    "choice": {"structured_outputs": {"choice": ["yes", "no", "maybe"]}},
    "regex": {"structured_outputs": {"regex": "[a-z]{3}-[0-9]{2}"}},
    "grammar": {"structured_outputs": {"grammar": 'root ::= "a" root | "b"'}},
    "tools": {"tools": TOOLS},
    "no tool": {"tools": TOOLS, "tool_choice": "none"},
    "a tool": {"tools": TOOLS, "tool_choice": "required", "max_tokens": 200},
    "one tool": {
        "tools": TOOLS,
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 200,
    },
    "this tool": {"tools": TOOLS, "tool_choice": NAMED, "max_tokens": 200},
    "a cut tool": {"tools": TOOLS, "tool_choice": NAMED, "max_tokens": 12},
    "calls before": {"messages": CALLED, "tools": TOOLS},
    "calls before, no tools": {"messages": CALLED},
}


def requests():
    return [
        full({"messages": [USER], "max_tokens": 24, "include_reasoning": True} | body)
        for body in BODIES.values()
    ]


def single_choices(name, body):
    """Split a request for n choices into n requests with the choices' seeds."""
    for index in range(body.get("n", 1)):
        seed = nth_seed(body["seed"], index)
        yield f"{name}-{index}", body | {"n": 1, "seed": seed, "model": "demo"}


def joined(results):
    """Return one answer with the choices of several answers to the same prompt."""
    first, *others = results
    body = answer(first)
    for index, other in enumerate(map(answer, others), start=1):
        body["choices"].append(other["choices"][0] | {"index": index})
        for kind in ("completion_tokens", "total_tokens"):
            body["usage"][kind] += other["usage"]["completion_tokens"]
    return first


@pytest.fixture(scope="module")
def vllm_results(demo, tmp_path_factory):
    """Return the answers of `vllm run-batch`, with batchchat's engine arguments."""
    folder = tmp_path_factory.mktemp("run-batch")
    split = {
        name: dict(single_choices(name, body))
        for name, body in zip(BODIES, requests(), strict=True)
    }
    lines = [
        {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions"}
        | {"body": body}
        for singles in split.values()
        for custom_id, body in singles.items()
    ]
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    (folder / "template.jinja").write_text(demo.chat_template, "utf-8")
    structured = {"backend": "xgrammar", "disable_any_whitespace": True}
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.run_batch"),
        *("-i", str(folder / "in.jsonl"), "-o", str(folder / "out.jsonl")),
        *("--model", str(demo_model(folder)), "--served-model-name", "demo"),
        *("--chat-template", str(folder / "template.jinja")),
        *("--dtype", "float32", "--max-model-len", "2048", "--seed", "0"),
        *("--max-num-seqs", "128", "--max-num-batched-tokens", "4096"),
        *("--no-enable-chunked-prefill", "--enforce-eager"),
        *("--distributed-executor-backend", "uni", "--generation-config", "vllm"),
        *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
        *("--structured-outputs-config", json.dumps(structured)),
    ]
    environment = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    environment |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    subprocess.run(
        command, env=os.environ | environment, check=True, capture_output=True
    )
    written = (folder / "out.jsonl").read_text("utf-8").splitlines()
    results = {result["custom_id"]: result for result in map(json.loads, written)}
    return {name: joined(results[it] for it in ids) for name, ids in split.items()}


@pytest.fixture(scope="module")
def batchchat_results(batches):
    return dict(zip(BODIES, batches.run(*requests()), strict=True))


def comparable(result):
    """Return the parts of an answer that do not vary between runs."""
    body = answer(result)
    choices = [
        {
            "index": choice["index"],
            "content": choice["message"]["content"],
            "calls": [call["function"] for call in calls(choice)],
            "finish_reason": choice["finish_reason"],
            "stop_reason": choice["stop_reason"],
        }
        for choice in body["choices"]
    ]
    tokens = body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]
    return {"choices": choices, "tokens": tokens}


def calls(choice):
    return choice["message"].get("tool_calls") or []


def logprobs(result):
    """Return the tokens and the values of an answer's logprobs as two flat lists."""
    tokens, numbers = [], []
    for choice in answer(result)["choices"]:
        for token in (choice["logprobs"] or {"content": []})["content"]:
            for one in (token, *token["top_logprobs"]):
                tokens.append((one["token"], one["bytes"]))
                numbers.append(one["logprob"])
    return tokens, numbers


@pytest.mark.parametrize("name", BODIES)
def test_answers_equal_those_of_vllm_run_batch(batchchat_results, vllm_results, name):
    assert comparable(batchchat_results[name]) == comparable(vllm_results[name])
    tokens, numbers = logprobs(batchchat_results[name])
    assert tokens == logprobs(vllm_results[name])[0]
    assert numbers == pytest.approx(logprobs(vllm_results[name])[1], abs=1e-3)


def test_documented_fields_occur_in_the_lines_that_the_page_names():
    for field, notes in NOTES.items():
        if field not in ("seed", "max_tokens", "include_reasoning"):  # in every line
            assert field in BODIES[notes["compared"]]


def test_compared_lines_contain_tool_calls_logprobs_and_stops(batchchat_results):
    assert load_catalog().find("demo").tool_parser == "hermes"
    assert all(
        calls(answer(batchchat_results[name])["choices"][0])
        for name in ("a tool", "this tool")
    )
    assert logprobs(batchchat_results["logprobs"])[0]
    stopped = answer(batchchat_results["stop"])["choices"][0]
    assert stopped["finish_reason"] == "stop"
