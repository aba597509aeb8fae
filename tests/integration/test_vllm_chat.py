"""Tools, formats, turns and hostile requests on real vLLM, through whole batches."""

import json
from typing import Any

import pytest

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.demo_model import demo_model
from batchchat.jobs.errors import ConfigError
from tests.integration.chat_batches import NAMED, TOOLS, answer, batches, choice

pytest.importorskip("vllm", reason="needs vLLM: install batchchat[cpu]")
pytestmark = [pytest.mark.engine, pytest.mark.slow]

PLACE = TOOLS[0]["function"]["parameters"]
SLOT = {"role": "assistant", "generate": True}


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Return what runs bodies as one batch and returns their results, in order."""
    with batches(tmp_path_factory) as ask:
        yield ask


def error(result):
    return result["response"]["body"]["error"]


def test_a_tool_that_must_be_called_is_called(ask):
    asked = {"tools": TOOLS, "max_tokens": 200}
    for result in ask(
        asked | {"tool_choice": "required"}, asked | {"tool_choice": NAMED}
    ):
        message = choice(result)["message"]
        call = message["tool_calls"][0]
        assert call["function"]["name"] == "weather"
        assert json.loads(call["function"]["arguments"]).keys() == {"city", "days"}
        assert call["id"].startswith("chatcmpl-tool-")


def test_finish_reasons_of_calls_are_vllm_s(ask):
    asked = {"tools": TOOLS, "max_tokens": 200, "parallel_tool_calls": False}
    required, named = ask(
        asked | {"tool_choice": "required"}, asked | {"tool_choice": NAMED}
    )
    assert choice(required)["finish_reason"] == "tool_calls"
    assert choice(named)["finish_reason"] == "stop"


def test_a_model_that_calls_nothing_just_speaks(ask):
    for result in ask(
        {"tools": TOOLS, "max_tokens": 8},
        {"tools": TOOLS, "max_tokens": 8, "tool_choice": "none"},
    ):
        message = choice(result)["message"]
        assert message["content"]
        assert "tool_calls" not in message


def test_an_answer_is_of_the_form_that_was_asked_for(ask):
    schema = {"name": "place", "schema": PLACE}
    formatted, vllm_s, choices, regex, grammar = ask(
        {"response_format": {"type": "json_schema", "json_schema": schema}},
        {"structured_outputs": {"json": PLACE}},
        {"structured_outputs": {"choice": ["yes", "no"]}},
        {"structured_outputs": {"regex": "[a-c]{3}x"}},
        {"structured_outputs": {"grammar": 'root ::= "one" | "two"'}},
    )
    for result in (formatted, vllm_s):
        content = json.loads(choice(result)["message"]["content"])
        assert content.keys() == {"city", "days"}
    assert choice(choices)["message"]["content"] in ("yes", "no")
    assert choice(regex)["message"]["content"][3:] == "x"
    assert choice(grammar)["message"]["content"] in ("one", "two")


def test_a_json_object_begins_as_one(ask):
    asked = {"response_format": {"type": "json_object"}, "max_tokens": 20}
    (result,) = ask(asked)
    assert choice(result)["message"]["content"].startswith("{")


def test_only_allowed_tokens_are_drawn(ask):
    (result,) = ask({"allowed_token_ids": [70], "max_tokens": 4})
    (letter,) = {*choice(result)["message"]["content"]}
    assert letter


def test_logprobs_stand_beside_a_form(ask):
    asked = {"structured_outputs": {"choice": ["yes", "no"]}, "logprobs": True}
    (result,) = ask(asked)
    tokens = [token["token"] for token in choice(result)["logprobs"]["content"]]
    assert "".join(tokens).startswith(choice(result)["message"]["content"])


def conversation(*answers, turns=2, **body):
    """Return a conversation, its first answers given and the others slots."""
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
def test_a_slot_gives_what_pasting_the_answer_gives(ask, how):
    (slotted,) = ask(conversation(**how))
    (turn,) = answer(slotted)["turns"]
    (alone,) = ask(conversation(turns=1, **how))
    assert turn["message"] == choice(alone)["message"]
    (pasted,) = ask(conversation(turn["message"]["content"], **how))
    assert choice(slotted)["message"] == choice(pasted)["message"]


def test_the_second_turn_finds_the_first_in_the_cache(ask):
    (result,) = ask(conversation(seed=12, max_tokens=40, ignore_eos=True))
    usage, (turn,) = answer(result)["usage"], answer(result)["turns"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    second = usage["prompt_tokens"] - turn["usage"]["prompt_tokens"]
    assert cached - turn["usage"]["prompt_tokens_details"]["cached_tokens"] >= (
        turn["usage"]["prompt_tokens"] // 128 * 128
    )
    assert usage["completion_tokens"] == 80
    assert second > turn["usage"]["prompt_tokens"]


def test_a_turn_without_room_names_its_slot(ask):
    messages = conversation(turns=3)["messages"]
    hungry = {"messages": messages, "ignore_eos": True}
    failed, neighbour = ask(hungry, {"max_tokens": 4})
    assert error(failed)["message"].startswith("turn 2 of 3, messages[3]: the prompt")
    assert error(failed)["code"] == "context_length_exceeded"
    assert answer(neighbour)


def test_a_turn_may_be_a_call_that_the_conversation_answers(ask):
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
    """Return a schema of some kilobytes that takes a compiler very long."""
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
    "n of a list": {"n": [1]},
    "no number": {"temperature": "hot"},
    "a seed past int64": {"seed": 2**63},
    "10,000 stops": {"stop": ["x"] * 10_000},
    "a stop of a megabyte": {"stop": "x" * 2**20},
    "10,000 bad words": {"bad_words": ["x"] * 10_000},
    "empty bad word": {"bad_words": [" "]},
    "huge logit_bias": {"logit_bias": {str(token): 1 for token in range(10_000)}},
    "a token past the vocabulary": {"logit_bias": {"99999999": 1}},
    "an allowed token past it": {"allowed_token_ids": [10**6]},
    "logprobs of many": {"logprobs": True, "top_logprobs": 10**6},
    "a schema of a megabyte": schema({"title": "x" * 2**20}),
    "a schema of 1,000 levels": schema(nested(900)),
    "a schema of itself": schema({"$ref": "#"}),
    "a schema that takes long": schema(bomb()),
    "a schema of a wrong type": schema({"type": "nothing"}),
    "a pattern in it": schema({"type": "string", "pattern": "("}),
    "a reference to nowhere": schema({"$ref": "#/$defs/none"}),
    "a regex of a megabyte": {"structured_outputs": {"regex": "a" * 2**20}},
    "no regex": {"structured_outputs": {"regex": "((("}},
    "a NUL": {"structured_outputs": {"regex": "\0"}},
    "no grammar": {"structured_outputs": {"grammar": "nonsense"}},
    "a tool's bomb": {
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "parameters": bomb(), "strict": True},
            }
        ],
        "tool_choice": "required",
    },
    "a choice of what is not allowed": {
        "structured_outputs": {"choice": ["yes"]},
        "allowed_token_ids": [70],
    },
    "a pattern of bad words": {
        "structured_outputs": {"regex": "a{4}"},
        "bad_words": ["a" * length for length in range(1, 5)],
    },
    "a pattern that takes seconds a token": {
        "structured_outputs": {"regex": "((a{1,999}){1,999}){1,999}"},
        "min_tokens": 400,
        "max_tokens": 400,
    },
    "a model's thoughts": {"reasoning_effort": "endless"},
    "template code": {"chat_template_kwargs": {"messages": "{{ 1/0 }}"}},
}
HARD = {
    "repeats of repeats": {
        "structured_outputs": {"regex": "((a{1,999}){1,999}){1,999}"}
    },
    "a star of a star": {"structured_outputs": {"regex": "((a|aa)*)*b"}},
    "an optional run": {"structured_outputs": {"regex": "(a?){500}a{500}"}},
    "an ambiguous grammar": {
        "structured_outputs": {"grammar": 'root ::= root root | "a" | ""'}
    },
    "a tree": schema({"type": "object", "properties": {"left": {"$ref": "#"}}}),
    "a billion items": schema(
        {"type": "array", "minItems": 10**9, "items": {"type": "integer"}}
    ),
    "a choice that must be longer": {
        "structured_outputs": {"choice": ["yes"]},
        "min_tokens": 8,
    },
    "a choice that must not end": {
        "structured_outputs": {"choice": ["yes"]},
        "ignore_eos": True,
        "logprobs": True,
        "top_logprobs": 20,
    },
    "only ends, and none may come": {
        "allowed_token_ids": [0, 1],
        "stop_token_ids": [0, 1],
        "min_tokens": 8,
        "logprobs": True,
    },
    "every logprob": {"logprobs": True, "top_logprobs": 20},
    "many bad words": {"bad_words": [f"word {number}" for number in range(60)]},
}


def test_hostile_requests_are_refused_one_by_one_and_the_others_complete(ask):
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


def test_reasoning_is_told_from_the_answer(tmp_path):
    from types import SimpleNamespace as Bag

    from transformers import PreTrainedTokenizerFast

    from batchchat.workers.engine.vllm_chat import ChatParserFactory

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(demo_model(tmp_path) / "tokenizer.json")
    )
    config = Bag(model="m", hf_config=Bag(model_type="llama"))
    model = Model(name="m", source="m", reasoning_parser="granite")
    text = "Here is my thought process: rain. Here is my response: Yes."
    output = Bag(text=text, token_ids=[5, 6], finish_reason="stop")
    chats = ChatParserFactory(model, config, tokenizer)
    plain = chats.create(None)
    hidden = chats.create({"include_reasoning": False})
    assert plain is not None
    assert hidden is not None
    read = plain.parse(output)
    assert (read["reasoning"].strip(), read["text"].strip()) == ("rain.", "Yes.")
    assert "reasoning" not in hidden.parse(output)
    assert hidden.hides_logprobs


def test_a_parser_that_can_t_be_used_is_a_wrong_catalog():
    from types import SimpleNamespace as Bag

    from batchchat.workers.engine.vllm_chat import ChatParserFactory

    config = Bag(model="m", hf_config=Bag(model_type="llama"))
    with pytest.raises(ConfigError, match="no-such-parser"):
        ChatParserFactory(
            Model(name="m", source="m", tool_parser="no-such-parser"), config, None
        )
