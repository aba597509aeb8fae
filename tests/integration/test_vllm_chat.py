"""Tools, response formats, turns and hostile requests in batches on real vLLM."""

import json
from typing import Any

import pytest

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.demo_model import demo_model
from batchchat.jobs.errors import ConfigError
from tests.integration.chat_batches import NAMED, TOOLS, answer, choice

pytestmark = pytest.mark.engine

PLACE = TOOLS[0]["function"]["parameters"]
SLOT = {"role": "assistant", "generate": True}


@pytest.fixture
def ask(batches):
    """Return a function that runs bodies as one batch and returns their results."""
    return batches.run


def error(result):
    return result["response"]["body"]["error"]


def test_required_tool_is_called(ask):
    asked = {"tools": TOOLS, "max_tokens": 200}
    for result in ask(
        asked | {"tool_choice": "required"}, asked | {"tool_choice": NAMED}
    ):
        message = choice(result)["message"]
        call = message["tool_calls"][0]
        assert call["function"]["name"] == "weather"
        assert json.loads(call["function"]["arguments"]).keys() == {"city", "days"}
        assert call["id"].startswith("chatcmpl-tool-")


def test_tool_calls_have_the_finish_reasons_of_vllm(ask):
    asked = {"tools": TOOLS, "max_tokens": 200, "parallel_tool_calls": False}
    required, named = ask(
        asked | {"tool_choice": "required"}, asked | {"tool_choice": NAMED}
    )
    assert choice(required)["finish_reason"] == "tool_calls"
    assert choice(named)["finish_reason"] == "stop"


def test_answer_without_tool_call_is_text(ask):
    for result in ask(
        {"tools": TOOLS, "max_tokens": 8},
        {"tools": TOOLS, "max_tokens": 8, "tool_choice": "none"},
    ):
        message = choice(result)["message"]
        assert message["content"]
        assert "tool_calls" not in message


def test_answers_satisfy_their_output_constraints(ask):
    schema = {"name": "place", "schema": PLACE}
    formatted, extension, choices, regex, grammar = ask(
        {"response_format": {"type": "json_schema", "json_schema": schema}},
        {"structured_outputs": {"json": PLACE}},
        {"structured_outputs": {"choice": ["yes", "no"]}},
        {"structured_outputs": {"regex": "[a-c]{3}x"}},
        {"structured_outputs": {"grammar": 'root ::= "one" | "two"'}},
    )
    for result in (formatted, extension):
        content = json.loads(choice(result)["message"]["content"])
        assert content.keys() == {"city", "days"}
    assert choice(choices)["message"]["content"] in ("yes", "no")
    assert choice(regex)["message"]["content"][3:] == "x"
    assert choice(grammar)["message"]["content"] in ("one", "two")


def test_json_object_starts_with_a_brace(ask):
    asked = {"response_format": {"type": "json_object"}, "max_tokens": 20}
    (result,) = ask(asked)
    assert choice(result)["message"]["content"].startswith("{")


def test_only_allowed_tokens_are_generated(ask):
    (result,) = ask({"allowed_token_ids": [70], "max_tokens": 4})
    (letter,) = {*choice(result)["message"]["content"]}
    assert letter


def test_logprobs_are_returned_with_output_constraints(ask):
    asked = {"structured_outputs": {"choice": ["yes", "no"]}, "logprobs": True}
    (result,) = ask(asked)
    tokens = [token["token"] for token in choice(result)["logprobs"]["content"]]
    assert "".join(tokens).startswith(choice(result)["message"]["content"])


def conversation(*answers, turns=2, **body):
    """Return a conversation with the first `answers` given and slots for the others."""
    messages: list[dict[str, Any]] = []
    for index in range(turns):
        words = " ".join(f"word{number}" for number in range(40))
        messages.append({"role": "user", "content": f"{index} {words}"})
        if index < len(answers):
            messages.append({"role": "assistant", "content": answers[index]})
        elif index < turns - 1:
            messages.append(SLOT)
    return {"messages": messages, "max_tokens": 24} | body


@pytest.mark.parametrize("how", [{"temperature": 0}, {"seed": 11}])
def test_slot_equals_a_pasted_answer(ask, how):
    (slotted,) = ask(conversation(**how))
    (turn,) = answer(slotted)["turns"]
    (alone,) = ask(conversation(turns=1, **how))
    assert turn["message"] == choice(alone)["message"]
    seed = choice(slotted)["seed"]
    (pasted,) = ask(conversation(turn["message"]["content"], **how | {"seed": seed}))
    assert choice(slotted)["message"] == choice(pasted)["message"]


def test_second_turn_reuses_the_cached_prefix_of_the_first(ask):
    (result,) = ask(conversation(seed=12, max_tokens=40, ignore_eos=True))
    usage, (turn,) = answer(result)["usage"], answer(result)["turns"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    second = usage["prompt_tokens"] - turn["usage"]["prompt_tokens"]
    assert cached - turn["usage"]["prompt_tokens_details"]["cached_tokens"] >= (
        turn["usage"]["prompt_tokens"] // 128 * 128
    )
    assert usage["completion_tokens"] == 80
    assert second > turn["usage"]["prompt_tokens"]


def test_error_of_a_turn_names_its_slot(ask):
    messages = conversation(turns=3)["messages"]
    too_long = {"messages": messages, "ignore_eos": True}
    failed, neighbour = ask(too_long, {"max_tokens": 4})
    assert error(failed)["message"].startswith("turn 2 of 3, messages[3]: the prompt")
    assert error(failed)["code"] == "context_length_exceeded"
    assert answer(neighbour)


def test_turn_may_be_a_tool_call(ask):
    slot = SLOT | {"tools": TOOLS, "tool_choice": NAMED}
    messages = [
        {"role": "user", "content": "What's the weather?"},
        slot,
        {"role": "tool", "content": "rain", "tool_call_id": "any"},
    ]
    (result,) = ask({"messages": messages, "max_tokens": 200})
    (turn,) = answer(result)["turns"]
    assert turn["message"]["tool_calls"][0]["function"]["name"] == "weather"
    assert choice(result)["message"]["content"]


def bomb():
    """Return a schema of a few kilobytes that takes very long to compile."""
    fields = {f"p{number}": {"type": "string"} for number in range(300)}
    return {
        "type": "object",
        "properties": fields,
        "minProperties": 100,
        "maxProperties": 200,
    }


def nested(levels):
    return {"a": nested(levels - 1)} if levels else {}


def schema(value):
    named = {"name": "n", "schema": value}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


HOSTILE = {
    "huge n": {"n": 10**6},
    "a list for n": {"n": [1]},
    "text for a number": {"temperature": "hot"},
    "a seed past int64": {"seed": 2**63},
    "10,000 stop strings": {"stop": ["x"] * 10_000},
    "a stop string of a megabyte": {"stop": "x" * 2**20},
    "10,000 bad words": {"bad_words": ["x"] * 10_000},
    "empty bad word": {"bad_words": [" "]},
    "huge logit_bias": {"logit_bias": {str(token): 1 for token in range(10_000)}},
    "a biased token outside the vocabulary": {"logit_bias": {"99999999": 1}},
    "an allowed token outside the vocabulary": {"allowed_token_ids": [10**6]},
    "too many logprobs": {"logprobs": True, "top_logprobs": 10**6},
    "a schema of a megabyte": schema({"title": "x" * 2**20}),
    "a schema of 900 levels": schema(nested(900)),
    "a circular schema": schema({"$ref": "#"}),
    "a schema that compiles for hours": schema(bomb()),
    "a schema of an unknown type": schema({"type": "nothing"}),
    "an invalid pattern in a schema": schema({"type": "string", "pattern": "("}),
    "an unresolvable reference": schema({"$ref": "#/$defs/none"}),
    "a regex of a megabyte": {"structured_outputs": {"regex": "a" * 2**20}},
    "an invalid regex": {"structured_outputs": {"regex": "((("}},
    "a NUL character": {"structured_outputs": {"regex": "\0"}},
    "an invalid grammar": {"structured_outputs": {"grammar": "nonsense"}},
    "a tool schema that compiles for hours": {
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "parameters": bomb(), "strict": True},
            }
        ],
        "tool_choice": "required",
    },
    "a choice without allowed tokens": {
        "structured_outputs": {"choice": ["yes"]},
        "allowed_token_ids": [70],
    },
    "a pattern that needs bad words": {
        "structured_outputs": {"regex": "a{4}"},
        "bad_words": ["a" * length for length in range(1, 5)],
    },
    "a pattern that needs seconds per token": {
        "structured_outputs": {"regex": "((a{1,999}){1,999}){1,999}"},
        "min_tokens": 400,
        "max_tokens": 400,
    },
    "an unknown reasoning effort": {"reasoning_effort": "endless"},
    "template code": {"chat_template_kwargs": {"messages": "{{ 1/0 }}"}},
}
HARD = {
    "nested repetitions": {
        "structured_outputs": {"regex": "((a{1,999}){1,999}){1,999}"}
    },
    "a nested star": {"structured_outputs": {"regex": "((a|aa)*)*b"}},
    "many optional letters": {"structured_outputs": {"regex": "(a?){500}a{500}"}},
    "an ambiguous grammar": {
        "structured_outputs": {"grammar": 'root ::= root root | "a" | ""'}
    },
    "a recursive schema": schema(
        {"type": "object", "properties": {"left": {"$ref": "#"}}}
    ),
    "a billion items": schema(
        {"type": "array", "minItems": 10**9, "items": {"type": "integer"}}
    ),
    "a choice shorter than min_tokens": {
        "structured_outputs": {"choice": ["yes"]},
        "min_tokens": 8,
    },
    "a choice with ignore_eos": {
        "structured_outputs": {"choice": ["yes"]},
        "ignore_eos": True,
        "logprobs": True,
        "top_logprobs": 20,
    },
    "only stop tokens before min_tokens": {
        "allowed_token_ids": [0, 1],
        "stop_token_ids": [0, 1],
        "min_tokens": 8,
        "logprobs": True,
    },
    "the maximum of logprobs": {"logprobs": True, "top_logprobs": 20},
    "many bad words": {"bad_words": [f"word {number}" for number in range(60)]},
}


def test_hostile_requests_fail_alone_and_all_others_complete(ask):
    few = {"max_tokens": 8}
    hostile = [few | body for body in HOSTILE.values()]
    hard = [few | body for body in HARD.values()]
    plain = [few | {"seed": seed} for seed in range(8)]
    results = ask(*plain, *hostile, *hard, *plain)
    answers = {"plain": results[:8], "again": results[-8:]}
    assert [choice(one)["message"] for one in answers["plain"]] == [
        choice(one)["message"] for one in answers["again"]
    ]
    bad = dict(zip(HOSTILE, results[8:], strict=False))
    assert {
        name for name, one in bad.items() if one["response"]["status_code"] == 200
    } == set()
    assert all(error(one)["message"] for one in bad.values())
    for one in results[8 + len(HOSTILE) : -8]:
        assert answer(one)["usage"]["completion_tokens"] <= 8


def test_reasoning_is_separated_from_the_answer(tmp_path):
    from types import SimpleNamespace as Bag

    from transformers import PreTrainedTokenizerFast

    from batchchat.workers.engine.vllm_chat import ChatParserFactory
    from batchchat.workers.engine.vllm_grammars import GrammarBuilder

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(demo_model(tmp_path) / "tokenizer.json")
    )
    config = Bag(model="m", hf_config=Bag(model_type="llama"))
    model = Model(name="m", source="m", reasoning_parser="granite")
    text = "Here is my thought process: rain. Here is my response: Yes."
    output = Bag(text=text, token_ids=[5, 6], finish_reason="stop")
    chats = ChatParserFactory(model, config, tokenizer, GrammarBuilder({}))
    plain = chats.create(None)
    hidden = chats.create({"include_reasoning": False})
    assert plain is not None
    assert hidden is not None
    read = plain.parse(output)
    assert (read["reasoning"].strip(), read["text"].strip()) == ("rain.", "Yes.")
    assert "reasoning" not in hidden.parse(output)
    assert hidden.hides_logprobs


def test_unknown_parser_in_the_catalog_is_a_config_error():
    from types import SimpleNamespace as Bag

    from batchchat.workers.engine.vllm_chat import ChatParserFactory
    from batchchat.workers.engine.vllm_grammars import GrammarBuilder

    config = Bag(model="m", hf_config=Bag(model_type="llama"))
    model = Model(name="m", source="m", tool_parser="no-such-parser")
    with pytest.raises(ConfigError, match="no-such-parser"):
        ChatParserFactory(model, config, None, GrammarBuilder({}))
