"""Fields of other servers and clients are ignored and counted, or rejected by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import convert
from openai.types import chat
from openai.types.chat import completion_create_params

from batchchat.jobs.engine.protocol import Choice, Completion, GeneratedTurn
from batchchat.jobs.execution import output_lines
from batchchat.jobs.prompts.chat_template import message_for_template
from batchchat.jobs.requests.extra_fields import EXTRA_FIELDS, UNSUPPORTED_FIELDS
from batchchat.jobs.requests.ignored_fields import ignored_fields
from batchchat.jobs.requests.parser import InvalidLine, Parser
from batchchat.jobs.requests.schema import Body, Message, TextPart
from tests.support.input_lines import (
    MESSAGES,
    parse_invalid,
    parse_valid,
    present,
    problems_of,
    with_body,
    with_raw_body,
)

CACHE = {"cache_control": {"type": "ephemeral"}}
USER = MESSAGES[0]
FUNCTION = {"name": "f", "arguments": "{}"}
CALL = {"id": "c", "type": "function", "function": FUNCTION}
TOOL = {"type": "function", "function": {"name": "f"}}

IN_USE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "litellm's answer": (
        {
            "role": "assistant",
            "content": "a",
            "tool_calls": [CALL | {"index": 0, "provider_specific_fields": {"s": "x"}}],
            "function_call": None,
            "provider_specific_fields": {"refusal": None},
            "reasoning_content": "r",
            "thinking_blocks": [{"type": "thinking", "thinking": "r"}],
            "images": [],
        },
        [
            "messages[].provider_specific_fields",
            "messages[].thinking_blocks",
            "messages[].tool_calls[].index",
            "messages[].tool_calls[].provider_specific_fields",
        ],
    ),
    "openai's parsed answer": (
        {
            "role": "assistant",
            "content": "{}",
            "refusal": None,
            "annotations": [{"type": "url_citation"}],
            "audio": None,
            "parsed": {"a": 1},
            "tool_calls": [
                CALL | {"function": FUNCTION | {"parsed_arguments": {"a": 1}}}
            ],
        },
        [
            "messages[].annotations",
            "messages[].parsed",
            "messages[].tool_calls[].function.parsed_arguments",
        ],
    ),
    "vllm's answer": (
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "tool_calls": [],
            "reasoning": "r",
            "reasoning_content": "r",
        },
        [],
    ),
    "lm-eval's question": ({"role": "user", "content": "2+2?", "type": "text"}, []),
    "openrouter's answer": (
        {
            "role": "assistant",
            "content": "a",
            "reasoning": "r",
            "reasoning_details": [{"type": "reasoning.text", "text": "r"}],
        },
        ["messages[].reasoning_details"],
    ),
    "anthropic's cache": (
        {"role": "user", "content": [{"type": "text", "text": "a"} | CACHE]} | CACHE,
        ["messages[].cache_control", "messages[].content[].cache_control"],
    ),
    "openai's fine-tuning": (
        {"role": "assistant", "content": "a", "weight": 0},
        ["messages[].weight"],
    ),
}


@pytest.mark.parametrize(("message", "names"), IN_USE.values(), ids=IN_USE)
def test_messages_of_other_software_are_accepted(message, names):
    request = parse_valid(with_body(messages=[message, USER]))
    assert ignored_fields(request) == names
    bare = {"role": message["role"], "content": request.body.messages[0].text()}
    if message.get("reasoning") or message.get("reasoning_content"):
        bare["reasoning"] = "r"
    if message.get("tool_calls"):
        bare["tool_calls"] = [CALL]
    plain = message_for_template(convert(bare, Message))
    assert message_for_template(request.body.messages[0]) == plain


@pytest.mark.parametrize("name", list(EXTRA_FIELDS[Body]))
def test_fields_of_a_body_are_ignored_or_rejected(name):
    extra = EXTRA_FIELDS[Body][name]
    for value in (*extra.neutral, None):
        request = parse_valid(with_body(**{name: value}))
        assert ignored_fields(request) == []
    if name in UNSUPPORTED_FIELDS:
        assert problems_of(with_body(**{name: "x"})) != []
    else:
        assert ignored_fields(parse_valid(with_body(**{name: "x"}))) == [name]


def test_a_neutral_value_of_another_type_is_rejected():
    assert problems_of(with_body(echo=0)) != []
    assert problems_of(with_body(best_of=True)) != []
    assert problems_of(with_body(add_generation_prompt=1)) != []


def test_ignored_fields_of_tools_and_formats_are_counted():
    body: dict[str, Any] = {
        "tools": [TOOL | CACHE],
        "structured_outputs": {"choice": ["a"], "disable_fallback": True},
        "stream_options": {"include_usage": True},
        "service_tier": "flex",
    }
    assert ignored_fields(parse_valid(with_body(**body))) == [
        "service_tier",
        "stream_options",
        "structured_outputs.disable_fallback",
        "tools[].cache_control",
    ]


REJECTED = {
    "audio": {"role": "assistant", "content": "a", "audio": {"id": "audio_1"}},
    "prefix": {"role": "assistant", "content": "{", "prefix": True},
    "thinking_blocks": {"role": "assistant", "content": "a", "thinking_blocks": [{}]},
    "type": {"role": "user", "content": "a", "type": "human"},
}


@pytest.mark.parametrize(("name", "message"), REJECTED.items())
def test_fields_that_would_change_the_prompt_are_rejected(name, message):
    (problem,) = parse_invalid(with_body(messages=[message])).problems
    assert problem.code == "unsupported_parameter"
    assert problem.param is not None
    assert problem.param.endswith(f"messages[0].{name}")
    assert EXTRA_FIELDS[Message][name].reason in problem.message


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_text", "text": "a"},
        {"type": "output_text", "text": "a", "annotations": [], "logprobs": None},
        {"type": "refusal", "refusal": "a"},
        {"type": "text", "text": "a", "image_url": None},
    ],
    ids=lambda part: part["type"],
)
def test_texts_have_several_names(part):
    other = parse_valid(with_body(messages=[{"role": "user", "content": [part]}]))
    text = {"type": "text", "text": "a"}
    assert other == parse_valid(
        with_body(messages=[{"role": "user", "content": [text]}])
    )


def test_a_duplicate_key_is_found_beside_ignored_fields():
    raw = with_raw_body('"priority": 1, "temperature": 0, "temperature": 1')
    assert [code for code, _ in problems_of(raw)] == ["duplicate_key"]
    assert problems_of(with_raw_body('"priority": {"a": 1, "a": 2}')) == []


def test_every_field_of_openai_is_known():
    fields = completion_create_params.CompletionCreateParamsBase.__annotations__
    unknown = {*fields} - {*Body.__struct_fields__, *EXTRA_FIELDS[Body]}
    assert unknown == set()
    for name in dir(chat):
        if name.endswith("MessageParam"):
            written = getattr(getattr(chat, name), "__annotations__", {})
            assert {*written} <= {*Message.__struct_fields__}, name
    parts = chat.ChatCompletionContentPartTextParam.__annotations__
    assert {*parts} <= {*TextPart.__struct_fields__, *EXTRA_FIELDS[TextPart]}


def answered(**fields):
    """Return the body of the output line of an answer."""
    choice = Choice(**{"index": 0, "text": None, "finish_reason": "stop"} | fields)
    counts: Any = {"prompt_tokens": 1, "completion_tokens": 1}
    turns = [GeneratedTurn(1, Completion(choices=[choice], **counts))]
    line = output_lines.completed(
        "batch_req_1",
        "a",
        Completion(choices=[choice, choice], turns=turns, **counts),
        created=0,
        model="m",
        price=None,
        fingerprint="f",
        seed=1,
    )
    return json.loads(line)["response"]["body"]


ANSWERS: list[dict[str, Any]] = [
    {"text": "a"},
    {"text": ""},
    {"text": None},
    {"text": None, "reasoning": "r"},
    {"text": "a", "reasoning": ""},
    {"text": "a", "reasoning": "r"},
    {"text": None, "tool_calls": [CALL]},
    {"text": "a", "reasoning": "r", "tool_calls": [CALL, CALL]},
]


@pytest.mark.parametrize("fields", ANSWERS)
def test_every_answer_is_accepted_as_a_message(fields):
    body = answered(**fields)
    messages = [one["message"] for one in (*body["choices"], *body["turns"])]
    request = parse_valid(with_body(messages=[USER, *messages, USER]))
    assert ignored_fields(request) == []
    text = fields["text"] or ""
    assert [one.text() for one in request.body.messages[1:-1]] == [text] * len(messages)


def test_arguments_of_a_call_may_be_an_object():
    given = {"town": "Köln", "unit": None, "days": [1, 2.5]}
    for name in ("tool_calls", "function_call"):
        both = []
        for arguments in (given, json.dumps(given, ensure_ascii=False)):
            function = {"name": "f", "arguments": arguments}
            value = [CALL | {"function": function}] if name[0] == "t" else function
            message = {"role": "assistant", name: value}
            [parsed] = parse_valid(with_body(messages=[message])).body.messages
            both.append(message_for_template(parsed))
        assert both[0] == both[1]
        assert both[0]["tool_calls"][0]["function"]["arguments"] == given


def test_arguments_of_a_call_may_not_be_nested_too_deeply():
    deep: dict[str, Any] = {}
    for _ in range(70):
        deep = {"a": deep}
    call = CALL | {"function": {"name": "f", "arguments": deep}}
    (problem,) = parse_invalid(
        with_body(messages=[{"role": "assistant", "tool_calls": [call]}])
    ).problems
    assert "levels" in problem.message


def test_empty_fields_of_answers_are_accepted_in_every_message():
    empty = {"tool_calls": [], "reasoning_content": "", "refusal": ""}
    for role in ("user", "system", "tool", "assistant"):
        message = {"role": role, "content": "a"} | empty
        assert problems_of(with_body(messages=[message])) == []


def test_a_refusal_is_what_the_assistant_said():
    for content, text in ((None, "No."), ("", "No."), ("Well", "Well\nNo.")):
        message = present({"role": "assistant", "content": content, "refusal": "No."})
        [said] = parse_valid(with_body(messages=[message])).body.messages
        assert said.text() == text


def test_functions_become_tools():
    messages = [
        USER,
        {"role": "assistant", "content": None, "function_call": FUNCTION},
        {"role": "function", "name": "f", "content": "7"},
    ]
    call = CALL | {"id": "call00001"}
    modern = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "name": "f", "content": "7", "tool_call_id": "call00001"},
    ]
    request = parse_valid(with_body(messages=messages))
    assert request == parse_valid(with_body(messages=modern))
    escaped = with_body(messages=messages).replace(b"function", b"\\u0066unction")
    assert parse_valid(escaped) == request


FAULTS = Path(__file__).parents[4] / "shared/faults"
ACCEPTED = ["01-hf-null-fields-in", "21-lmeval-type-in", "24-reasoning-again"]


@pytest.mark.parametrize("name", ACCEPTED)
def test_lines_that_were_once_rejected_are_accepted(name):
    file = FAULTS / f"{name}.jsonl"
    if not file.exists():
        pytest.skip("the examples are not part of the repository")
    for number, raw in enumerate(file.read_bytes().splitlines(), 1):
        result = Parser("demo").parse(raw, number)
        assert not isinstance(result, InvalidLine), result
