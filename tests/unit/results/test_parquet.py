"""The Parquet file of a batch: typed, complete, in bounded memory."""

import json
from decimal import Decimal
from io import BytesIO
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from batchchat.jobs.catalog.usage import Price
from batchchat.jobs.engine.protocol import GeneratedTurn
from batchchat.jobs.engine.sampling import nth_seed
from batchchat.jobs.errors import ConflictError, CorruptObjectError, RequestRefusedError
from batchchat.jobs.results import table as module
from batchchat.jobs.results.joined_rows import outcome_of
from batchchat.jobs.results.parquet import write_parquet
from tests.support import ended
from tests.support.ended import Hand, bare, completion, echo, whole

THREE = b"\n".join(bare(str(n)) for n in range(3))


@pytest.fixture
def hand():
    return Hand()


def opened(hand, state):
    """Return what is written, opened."""
    sink = BytesIO()
    rows = write_parquet(hand.ledger, state, sink)
    file = parquet.ParquetFile(BytesIO(sink.getvalue()))
    assert file.metadata.num_rows == rows
    return file


def read(hand, state):
    return opened(hand, state).read().to_pylist()


def refuse(_):
    return RequestRefusedError("too long", code="context_length_exceeded")


def test_a_completed_request_has_every_column(hand):
    answer = completion("one", "two", cached_tokens=2)
    [row] = read(hand, hand.ended(whole("a", "x"), lambda _: answer))
    assert row.pop("response").startswith('{"status_code":200,"request_id":"batch_req_')
    said = dict.fromkeys(("reasoning_content", "tool_calls"))
    none = said | dict.fromkeys(("tool_call_id", "name"))
    said |= {"finish_reason": "stop"}
    assert row == {
        "custom_id": "a",
        "line": 1,
        "status": "completed",
        "model": "m",
        "content": "one",
        "finish_reason": "stop",
        "messages": [
            {"role": "user", "content": "x"} | none,
            {"role": "assistant", "content": "one"} | none,
        ],
        "tools": None,
        "n_choices": 2,
        "choices": [
            {"index": 0, "content": "one", "seed": 7} | said,
            {"index": 1, "content": "two", "seed": nth_seed(7, 1)} | said,
        ],
        "prompt_tokens": 3,
        "completion_tokens": 10,
        "total_tokens": 13,
        "cached_tokens": 2,
        "estimated_cost": Decimal("0.000001150003"),
        "seed": 7,
        "system_fingerprint": "fp",
        "metadata": None,
        "reused_from": None,
        "error_code": None,
        "error_message": None,
    }


def test_a_refused_request_has_an_error_and_a_response(hand):
    [row] = read(hand, hand.ended(bare("x"), refuse))
    present = {name for name, value in row.items() if value is not None}
    assert present == {
        *("custom_id", "line", "status", "model"),
        *("error_code", "error_message", "response"),
    }
    assert (row["status"], row["error_code"]) == ("failed", "context_length_exceeded")
    assert row["error_message"] == "too long"


def test_a_reused_answer_names_its_origin(hand):
    origin = {"batch_id": "batch_1", "custom_id": "a"}
    state = hand.ended(bare("x"))
    key = hand.ledger.keys.content(outcome_of(state).output_file_id or "")
    line = hand.storage.get(key)
    reused = b'"reused_from":%b,"system_fingerprint"' % json.dumps(origin).encode()
    hand.storage.put(key, line.replace(b'"system_fingerprint"', reused))
    [row] = read(hand, state)
    assert json.loads(row["reused_from"]) == origin


def test_a_request_that_never_ran_has_no_response(hand):
    batch_id = hand.submit(bare("x"))
    [row] = read(hand, hand.finalize(batch_id, "cancelled"))
    assert (row["status"], row["error_code"]) == ("failed", "batch_cancelled")
    assert row["response"] is None


def test_a_line_without_a_readable_custom_id_has_null(hand):
    data = bare("a") + b"\n{"
    _, row = read(hand, hand.ended(data, on_invalid="skip"))
    assert row["custom_id"] is None
    assert row["line"] == 2


def test_the_conversation_is_plain_text_with_its_answer(hand):
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": t} for t in "ab"]},
    ]
    data = whole("a", "", messages=messages) + b"\n" + bare("c")
    first, second = read(hand, hand.ended(data))
    assert [(m["role"], m["content"]) for m in first["messages"]] == [
        ("system", "be brief"),
        ("user", "a\nb"),
        ("assistant", "re: a\nb"),
    ]
    assert [m["content"] for m in second["messages"]] == ["c", "re: c"]


def test_messages_of_every_form_are_in_the_conversation(hand):
    part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    call: dict[str, Any] = {"name": "f", "arguments": {"a": 1}}
    messages = [
        {"role": "user", "content": [part, {"type": "input_text", "text": "b"}]},
        {"role": "assistant", "content": None, "refusal": "no", "name": None},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "never"}]},
        {"role": "assistant", "content": None, "function_call": call},
        {"role": "function", "name": "f", "content": "7"},
    ]
    metadata = {"a": "b", "c": None}
    data = whole("a", "", messages=messages, metadata=metadata)
    [row] = read(hand, hand.ended(data))
    asked = row["messages"][:-1]
    texts = ["a\nb", "no", "never", None, "7"]
    assert [message["content"] for message in asked] == texts
    assert [message["role"] for message in asked[-2:]] == ["assistant", "tool"]
    [made] = asked[-2]["tool_calls"]
    assert json.loads(made)["function"] == call
    assert json.loads(made)["id"] == asked[-1]["tool_call_id"] == "call00003"
    assert json.loads(row["metadata"]) == {"a": "b"}


@pytest.mark.parametrize("ends_in_slot", [False, True])
def test_generated_turns_are_in_the_conversation(hand, ends_in_slot):
    slot = {"role": "assistant", "generate": True}
    asked = [{"role": "user", "content": "x"}, slot, {"role": "user", "content": "y"}]
    asked += [slot] * ends_in_slot
    turns = [
        GeneratedTurn(at, completion(f"turn {at}")) for at in (1, 3)[: 1 + ends_in_slot]
    ]
    answer = completion("turn 3", turns=turns)
    [row] = read(hand, hand.ended(whole("a", "", messages=asked), lambda _: answer))
    said = [(message["role"], message["content"]) for message in row["messages"]]
    assert said[1::2] == [("assistant", "turn 1"), ("assistant", "turn 3")]
    assert said[::2] == [("user", "x"), ("user", "y")]


@pytest.mark.parametrize(("decoded", "rows"), [(1, 1), (1, 3), (2, 3), (3, 100)])
def test_failures_between_answers_have_nulls_of_their_own(
    hand, monkeypatch, decoded, rows
):
    monkeypatch.setattr(module, "_DECODED_ROWS", decoded)
    monkeypatch.setattr(module, "_BATCH_ROWS", rows)

    def in_threes(request):
        return refuse(request) if request.line % 3 else echo(request)

    data = b"\n".join(whole(f"q-{n}", str(n)) for n in range(1, 9))
    found = read(hand, hand.ended(data, in_threes))
    assert [row["custom_id"] for row in found] == [f"q-{n}" for n in range(1, 9)]
    for row in found:
        answered = row["line"] % 3 == 0
        assert row["status"] == ("completed" if answered else "failed")
        assert row["content"] == (f"re: {row['line']}" if answered else None)
        assert (row["error_code"] is None) == answered
        assert row["response"].startswith(f'{{"status_code":{200 if answered else 400}')


def test_conversations_stay_with_their_rows_between_failures(hand):
    def odd_only(request):
        return echo(request) if request.line % 2 else refuse(request)

    data = b"\n".join(bare(str(n)) for n in range(1, 8))
    rows = read(hand, hand.ended(data, odd_only))
    said = [row["messages"] and row["messages"][0]["content"] for row in rows]
    assert said == ["1", None, "3", None, "5", None, "7"]


def test_rows_are_in_input_order_with_their_line_numbers(hand):
    data = b"\n\n" + THREE.replace(b"\n", b"\r\n\n")
    rows = read(hand, hand.ended(data))
    assert [row["line"] for row in rows] == [3, 5, 7]


def test_the_columns_do_not_depend_on_the_results(hand):
    answered = opened(hand, hand.ended(THREE)).schema_arrow
    failed = opened(hand, hand.ended(THREE, refuse)).schema_arrow
    unplanned = hand.submit(THREE, plan=False)
    empty = opened(hand, hand.finalize(unplanned, "cancelled")).schema_arrow
    assert answered.equals(failed)
    assert answered.equals(empty)
    assert answered.field("estimated_cost").type == pa.decimal128(38, 18)


def test_the_file_names_its_batch_and_is_compressed_with_zstd(hand):
    state = hand.ended(THREE)
    metadata = opened(hand, state).metadata
    assert metadata.metadata[b"batchchat.batch_id"].decode() == state.batch.id
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def groups(file):
    metadata = file.metadata
    return [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]


def test_a_row_group_has_a_maximum_number_of_rows(hand, monkeypatch):
    monkeypatch.setattr(module, "GROUP_ROWS", 2)
    monkeypatch.setattr(module, "_DECODED_ROWS", 1)
    assert groups(opened(hand, hand.ended(THREE))) == [2, 1]


def test_a_row_group_has_a_maximum_size_in_bytes(hand, monkeypatch):
    monkeypatch.setattr(module, "_GROUP_BYTES", 1_000)
    monkeypatch.setattr(module, "_DECODED_BYTES", 1_000)
    state = hand.ended(THREE, lambda _: completion("x" * 900))
    assert groups(opened(hand, state)) == [1, 1, 1]


def test_a_cost_with_too_many_decimals_is_rounded(hand, monkeypatch):
    price = Price(Decimal("1e-13"), Decimal(1), "2026-11-21")
    monkeypatch.setattr(ended, "PRICE", price)
    data = b"\n".join([bare("x"), bare("refused")])
    rows = read(hand, hand.ended(data, lambda r: echo(r) if r.line == 1 else refuse(r)))
    assert [row["estimated_cost"] for row in rows] == [Decimal("0.000005"), None]


@pytest.mark.parametrize("price", [Price(Decimal(0), Decimal(0), "2026-11-21"), None])
def test_the_cost_is_zero_for_a_free_model_and_null_without_a_price(
    hand, monkeypatch, price
):
    monkeypatch.setattr(ended, "PRICE", price)
    [row] = read(hand, hand.ended(bare("x")))
    assert row["estimated_cost"] == (None if price is None else 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"choices"', b'"chioces"'), (b',"error":null}', b""), (b"re: 1", b"re: \xff")],
)
def test_a_corrupt_result_is_an_error_with_its_line(hand, old, new):
    state = hand.ended(THREE)
    key = hand.ledger.keys.content(state.final.output_file_id or "")
    hand.storage.put(key, hand.storage.get(key).replace(old, new))
    with pytest.raises(CorruptObjectError, match="is corrupt"):
        read(hand, state)


def test_a_running_batch_has_no_parquet_file(hand):
    with pytest.raises(ConflictError):
        read(hand, hand.ledger.state(hand.submit(THREE)))
