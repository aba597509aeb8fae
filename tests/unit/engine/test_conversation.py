"""Generated turns are filled in one after the other."""

import json
from contextlib import suppress
from typing import Any

import pytest

from batchchat.jobs.engine.conversation import Conversation
from batchchat.jobs.engine.protocol import Choice, Completion
from batchchat.jobs.engine.sampling import nth_seed
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.ledger.partial_turns import PartialTurn, pack_turns, read_turns
from batchchat.jobs.ledger.recovery import stored_keys
from tests.support.input_lines import encoded, parse_valid
from tests.support.mortal_storage import Killed, Mortal
from tests.support.running import SETTINGS, Bench, text

GENERATED = {"role": "assistant", "generate": True}
SLOW = {"latency": 0.003}
AT_ONCE = SETTINGS.model_copy(update={"checkpoint_seconds": 0})
"""So that turns are checkpointed before the next ones are answered."""

TOOL = {"type": "function", "function": {"name": "f"}}
CHOICE = {"type": "function", "function": {"name": "f"}}


def user(content):
    return {"role": "user", "content": content}


def said(content):
    return {"role": "assistant", "content": content}


def turns(*messages, **body):
    return Conversation(parse_valid(encoded({"messages": list(messages), **body})))


def answer(content, **fields):
    choice = Choice(index=0, text=content, finish_reason="stop", **fields)
    return Completion(
        choices=[choice], prompt_tokens=10, completion_tokens=2, cached_tokens=4
    )


def heard(one):
    """Return the texts of the next turn."""
    return [message.text() for message in one.next_request.body.messages]


def test_each_turn_contains_all_earlier_messages():
    one = turns(user("a"), GENERATED, user("b"), GENERATED, user("c"))
    assert heard(one) == ["a"]
    one.add_answer(answer("A"))
    assert heard(one) == ["a", "A", "b"]
    one.add_answer(answer("B"))
    assert heard(one) == ["a", "A", "b", "B", "c"]
    one.add_answer(answer("C"))
    assert one.is_complete


def test_the_answer_is_the_last_turn_and_usage_is_the_sum():
    one = turns(user("a"), GENERATED, user("b"))
    one.add_answer(answer("A"))
    one.add_answer(answer("B"))
    assert one.answer.choices[0].text == "B"
    assert [turn.index for turn in one.answer.turns] == [1]
    counts = one.answer.prompt_tokens, one.answer.completion_tokens
    assert (*counts, one.answer.cached_tokens) == (20, 4, 8)


def test_the_last_message_may_be_a_generated_turn():
    one = turns(user("a"), GENERATED)
    one.add_answer(answer("A"))
    assert one.is_complete
    assert one.answer.choices[0].text == "A"
    assert [turn.index for turn in one.answer.turns] == [1]


def test_generated_turns_may_be_adjacent_or_first():
    one = turns(GENERATED, GENERATED, user("b"))
    assert heard(one) == []
    one.add_answer(answer("A"))
    one.add_answer(answer("B"))
    assert heard(one) == ["A", "B", "b"]


def test_a_request_without_generated_turns_is_submitted_unchanged():
    one = turns(user("a"), n=2)
    assert one.next_request is one.request
    one.add_answer(answer("A"))
    assert one.is_complete
    assert one.answer.turns == []


def test_tools_and_formats_apply_to_the_last_turn():
    body = {"tools": [TOOL], "response_format": {"type": "json_object"}}
    one = turns(user("a"), GENERATED, user("b"), **body)
    assert one.next_request.parameter("tools") is None
    assert one.next_request.parameter("response_format") is None
    one.add_answer(answer("A"))
    assert one.next_request.parameter("tools") is not None
    assert one.next_request.parameter("response_format").type == "json_object"


def test_a_generated_turn_may_override_tools_and_formats():
    generated = GENERATED | {"tools": [TOOL], "tool_choice": "required"}
    last = GENERATED | {"structured_outputs": {"choice": ["yes", "no"]}}
    one = turns(user("a"), generated, user("b"), last, response_format={"type": "text"})
    assert one.next_request.parameter("tool_choice") == "required"
    one.add_answer(answer("A"))
    assert one.next_request.parameter("tool_choice") is None
    assert one.next_request.parameter("response_format") is None
    assert one.next_request.parameter("structured_outputs").choice == ["yes", "no"]


def test_calls_and_reasoning_are_part_of_the_next_turn():
    call: dict[str, Any] = {"id": "1", "type": "function"}
    call |= {"function": {"name": "f", "arguments": "{}"}}
    generated = GENERATED | {"tools": [TOOL]}
    tool = {"role": "tool", "tool_call_id": "1", "content": "r"}
    one = turns(user("a"), generated, tool)
    one.add_answer(answer(None, tool_calls=[call], reasoning="so"))
    turn = one.next_request.body.messages[1]
    assert (turn.calls[0].function.name, turn.reasoning) == ("f", "so")


def test_the_error_of_a_turn_names_the_turn():
    one = turns(user("a"), GENERATED, user("b"), GENERATED, user("c"))
    one.add_answer(answer("A"))
    error = one.locate_error(RequestRefusedError("too long", param="messages"))
    assert error.message == "turn 2 of 3, messages[3]: too long"
    assert error.param == "messages[3]"


def two_turns(requests, **body):
    """Return an input file of conversations with one generated turn each."""
    return b"\n".join(
        json.dumps(
            {
                "custom_id": f"q-{index}",
                "messages": [
                    user(f"first {index}"),
                    GENERATED,
                    user(f"second {index}"),
                ],
                "max_tokens": 9,
                "seed": index,
                **body,
            }
        ).encode()
        for index in range(requests)
    )


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_generated_turn_equals_two_separate_requests(bench):
    output, _ = bench.results(bench.run(bench.submit(two_turns(20))))
    bodies = [result["response"]["body"] for result in output]
    firsts = [body["turns"][0]["message"]["content"] for body in bodies]
    seeds = [body["choices"][0]["seed"] for body in bodies]
    by_hand = b"\n".join(
        json.dumps(
            {
                "messages": [user(f"first {i}"), said(firsts[i]), user(f"second {i}")],
                "max_tokens": 9,
                "seed": seeds[i],
            }
        ).encode()
        for i in range(20)
    )
    pasted, _ = bench.results(bench.run(bench.submit(by_hand)))
    assert [text(result) for result in pasted] == [text(result) for result in output]
    for body in bodies:
        (turn,) = body["turns"]
        assert turn["index"] == 1
        tokens = body["usage"]["completion_tokens"]
        words = len(turn["message"]["content"].split())
        assert tokens == words + len(text({"response": {"body": body}}).split())


def test_turns_have_different_seeds_and_the_first_one_the_request_s(bench):
    generated = [user("a"), GENERATED, user("b"), GENERATED, user("c"), GENERATED]
    body = {"messages": generated, "seed": 5, "max_tokens": 9}
    output, _ = bench.results(bench.run(bench.submit(encoded(body))))
    answer = output[0]["response"]["body"]
    seeds = [turn["seed"] for turn in answer["turns"]]
    assert answer["seed"] == seeds[0] == 5
    assert seeds[1:] == [nth_seed(5, 1), nth_seed(5, 2)]
    assert answer["choices"][0]["seed"] == seeds[2]


def test_choices_report_seeds_that_give_the_same_answers_alone(bench):
    body = {"messages": [user("a")], "n": 3, "seed": 2**63 - 1, "max_tokens": 9}
    output, _ = bench.results(bench.run(bench.submit(encoded(body))))
    choices = output[0]["response"]["body"]["choices"]
    assert [choice["seed"] for choice in choices] == [
        nth_seed(2**63 - 1, index) for index in range(3)
    ]
    alone = [encoded(body | {"n": 1, "seed": choice["seed"]}) for choice in choices]
    singles, _ = bench.results(bench.run(bench.submit(b"\n".join(alone))))
    assert [text(single) for single in singles] == [
        choice["message"]["content"] for choice in choices
    ]


def test_a_recovered_turn_is_not_submitted_again(bench):
    batch_id = bench.submit(two_turns(2))
    keys = bench.ledger.keys.batch(batch_id)
    kept = pack_turns(
        [PartialTurn(1, 0, answer("KEPT")), PartialTurn(2, 1, answer("B"))]
    )
    bench.storage.put(keys.partial_turns(0, "attempt-1", 0), kept)
    bench.storage.put(keys.partial_turns(0, "attempt-1", 1), kept[:20])
    output, _ = bench.results(bench.run(batch_id))
    firsts = [result["response"]["body"]["turns"][0]["message"] for result in output]
    assert firsts[0]["content"] == "KEPT"
    assert firsts[1]["content"] not in ("KEPT", "B")


def test_finished_turns_of_a_killed_run_are_recovered(tmp_path):
    found = False
    for deadline in range(4, 12):
        bench = Bench(tmp_path, speed=SLOW, settings=AT_ONCE)
        batch_id = bench.submit(two_turns(9))
        with suppress(Killed):
            bench.run(batch_id, Mortal(bench.storage, deadline, after=True))
        place = bench.storage, bench.ledger.keys.batch(batch_id), 0
        found = found or bool(read_turns(*place, stored_keys(*place)))
    assert found


def test_max_tokens_of_zero_applies_to_every_turn(bench):
    output, _ = bench.results(bench.run(bench.submit(two_turns(1, max_tokens=0))))
    body = output[0]["response"]["body"]
    assert body["turns"][0]["message"]["content"] == ""
    assert body["usage"]["completion_tokens"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_with_turns_killed_at_any_write_has_the_same_results(tmp_path, after):
    undisturbed = Bench(tmp_path)
    output, _ = undisturbed.results(undisturbed.run(undisturbed.submit(two_turns(9))))
    expected = [(result["custom_id"], text(result)) for result in output]
    deadline, survived = 0, False
    while not survived:
        deadline += 1
        bench = Bench(tmp_path, speed=SLOW, settings=AT_ONCE)
        batch_id = bench.submit(two_turns(9))
        with suppress(Killed):
            bench.run(batch_id, Mortal(bench.storage, deadline, after=after))
            survived = True
        output, errors = bench.results(bench.run(batch_id))
        assert not errors
        assert [(r["custom_id"], text(r)) for r in output] == expected
