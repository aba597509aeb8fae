"""Rows of a batch as examples for fine-tuning: tools, reasoning, choices, metadata."""

import json
from io import BytesIO

import pytest
from pyarrow import parquet

from batchchat.jobs.engine.protocol import Choice, Completion, GeneratedTurn
from batchchat.jobs.engine.sampling import nth_seed
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.results import joined_rows
from batchchat.jobs.results import table as module
from batchchat.jobs.results.parquet import write_parquet
from tests.support.ended import Hand, completion, whole

TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": {}}},
    }
    for name in ("look", "say")
]


def call(name, arguments, call_id="call_1"):
    """Return a tool call as OpenAI's API writes it."""
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


ASKED = [
    {"role": "user", "content": "Where is it?", "name": "ada"},
    {
        "role": "assistant",
        "content": None,
        "reasoning": "I must look.",
        "tool_calls": [call("look", '{"at": [1, {"b": null}]}', "call_0")],
    },
    {"role": "tool", "content": "here", "tool_call_id": "call_0"},
]


@pytest.fixture
def hand():
    return Hand()


def read(hand, state):
    sink = BytesIO()
    write_parquet(hand.ledger, state, sink)
    return parquet.read_table(BytesIO(sink.getvalue())).to_pylist()


def answered(*choices):
    """Return an answer of `choices`, each with the fields that differ from a text."""
    made = [
        Choice(**({"index": n, "text": "", "finish_reason": "stop"} | choice))
        for n, choice in enumerate(choices)
    ]
    return Completion(choices=made, prompt_tokens=3, completion_tokens=5)


def message(role, content=None, **fields):
    """Return a message as a row has it, with tool calls parsed."""
    names = ("reasoning_content", "tool_calls", "tool_call_id", "name")
    return {"role": role, "content": content} | dict.fromkeys(names) | fields


def parsed(messages):
    """Return a row's messages with their tool calls parsed."""
    return [
        one | {"tool_calls": calls and [json.loads(each) for each in calls]}
        for one in messages
        for calls in [one["tool_calls"]]
    ]


def test_messages_keep_tool_calls_reasoning_and_names(hand):
    answer = answered(
        {
            "text": None,
            "reasoning": "Say it.",
            "tool_calls": [call("say", '{"text": "there"}'), call("say", "{bad")],
            "finish_reason": "tool_calls",
        }
    )
    state = hand.ended(
        whole("a", "", messages=ASKED, tools=TOOLS) + b"\n" + whole("b", "x"),
        lambda request: answer if request.custom_id == "a" else completion("plain"),
    )
    tools_row, plain_row = read(hand, state)
    assert parsed(tools_row["messages"]) == [
        message("user", "Where is it?", name="ada"),
        message(
            "assistant",
            reasoning_content="I must look.",
            tool_calls=[call("look", {"at": [1, {"b": None}]}, "call_0")],
        ),
        message("tool", "here", tool_call_id="call_0"),
        message(
            "assistant",
            reasoning_content="Say it.",
            tool_calls=[call("say", {"text": "there"}), call("say", "{bad")],
        ),
    ]
    assert json.loads(tools_row["tools"]) == TOOLS
    assert parsed(plain_row["messages"]) == [
        message("user", "x"),
        message("assistant", "plain"),
    ]
    assert plain_row["tools"] is None


def test_generated_turns_keep_tool_calls_and_reasoning(hand):
    slot = {"role": "assistant", "generate": True}
    asked = [{"role": "user", "content": "x"}, slot, {"role": "user", "content": "y"}]
    first = answered({"text": None, "reasoning": "r", "tool_calls": [call("f", "{}")]})
    second = answered({"text": "z", "reasoning": "s"})
    answer = completion("z", turns=[GeneratedTurn(1, first), GeneratedTurn(3, second)])
    state = hand.ended(whole("a", "", messages=[*asked, slot]), lambda _: answer)
    [row] = read(hand, state)
    assert parsed(row["messages"])[1::2] == [
        message("assistant", reasoning_content="r", tool_calls=[call("f", {})]),
        message("assistant", "z", reasoning_content="s"),
    ]


def test_choices_have_every_answer(hand):
    answer = answered(
        {"text": "one"},
        {"text": "two", "reasoning": "r", "finish_reason": "length"},
        {"text": None, "tool_calls": [call("f", "{}")], "finish_reason": "tool_calls"},
    )
    [row] = read(hand, hand.ended(whole("a", "x", n=3), lambda _: answer))
    assert row["n_choices"] == 3
    assert row["content"] == "one"
    assert parsed(row["choices"]) == [
        {
            "index": index,
            "content": content,
            "reasoning_content": reasoning,
            "tool_calls": calls,
            "finish_reason": reason,
            "seed": nth_seed(7, index),
        }
        for index, content, reasoning, calls, reason in (
            (0, "one", None, None, "stop"),
            (1, "two", "r", None, "length"),
            (2, None, None, [call("f", {})], "tool_calls"),
        )
    ]


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_metadata_is_in_the_line_and_in_the_row_even_of_a_failed_request(
    hand, monkeypatch, rows
):
    monkeypatch.setattr(module, "_BATCH_ROWS", rows)
    metadata = {"set": "dev\u2028", "n": "1"}

    def refuse_second(request):
        if request.line == 2:
            return RequestRefusedError("no", code="context_length_exceeded")
        return completion("re")

    data = b"\n".join(
        [
            whole("a", "x", metadata=metadata),
            whole("b", "x", metadata=metadata),
            whole("c", "x"),
            whole("d", "x", metadata=metadata, temperature="hot"),
            b"no JSON",
        ]
    )
    state = hand.ended(data, refuse_second, on_invalid="skip")
    lines = hand.lines(state.final.output_file_id)
    assert lines[0]["response"]["body"]["metadata"] == metadata
    assert "metadata" not in lines[1]["response"]["body"]
    found = [row["metadata"] for row in read(hand, state)]
    assert [text and json.loads(text) for text in found] == [
        metadata,
        metadata,
        None,
        metadata,
        None,
    ]


def test_an_overlong_line_is_not_read_into_its_row(hand, monkeypatch):
    monkeypatch.setattr(joined_rows, "_LINE_BYTES", 200)
    data = whole("a", "x" * 5_000, metadata={"a": "b"}) + b"\n" + whole("b", "x" * 300)
    state = hand.ended(data, on_invalid="skip")
    reads = []
    read_range = hand.storage.read

    def counted(key, offset, length):
        reads.append(length)
        return read_range(key, offset, length)

    monkeypatch.setattr(hand.storage, "read", counted)
    first, second = read(hand, state)
    assert (first["error_code"], first["metadata"]) == ("line_too_long", None)
    assert second["status"] == "completed"
    assert reads == [len(whole("b", "x" * 300))]


def test_fields_of_many_rows_stay_with_their_rows(hand, monkeypatch):
    monkeypatch.setattr(module, "_DECODED_ROWS", 2)
    monkeypatch.setattr(module, "_BATCH_ROWS", 3)

    def answer(request):
        if request.line % 3 == 0:
            return RequestRefusedError("no", code="context_length_exceeded")
        choices = [{"text": f"{request.line}.{n}"} for n in range(request.line)]
        return answered(*choices, {"text": "", "tool_calls": [call("f", "{}")]})

    data = b"\n".join(whole(f"q-{n}", f"{n}", tools=TOOLS) for n in range(1, 9))
    for number, row in enumerate(read(hand, hand.ended(data, answer)), 1):
        if number % 3 == 0:
            assert row["choices"] is row["messages"] is row["tools"] is None
        else:
            texts = [choice["content"] for choice in row["choices"]]
            assert texts == [*(f"{number}.{n}" for n in range(number)), ""]
            assert row["choices"][-1]["tool_calls"] is not None
            assert row["messages"][-1]["content"] == f"{number}.0"
