"""Each request of an ended batch is joined with its own result."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import ConflictError, CorruptObjectError, RequestRefusedError
from batchchat.jobs.ids import request_id
from batchchat.jobs.planning.planner import make_plan
from batchchat.jobs.planning.scanner import Limits
from batchchat.jobs.results import joined_rows as module
from batchchat.jobs.results.joined_rows import JoinedRows
from tests.support.ended import (
    MODEL,
    EmptyRegistry,
    Hand,
    bare,
    completion,
    echo,
    whole,
)

LINES = {
    "good": lambda n: bare(f"text {n}"),
    "bad": lambda _: b"{",
    "twice": lambda _: whole("twice", "x"),
    "refused": lambda n: bare(f"refused {n}"),
    "never": lambda n: bare(f"never {n}"),
    "blank": lambda _: b" ",
    "crlf": lambda n: bare(f"text {n}") + b"\r",
}


@pytest.fixture
def hand():
    return Hand()


def by_text(request):
    """Answer, refuse, or leave alone, as the message says."""
    said = request.body.messages[0].content
    if said.startswith("refused"):
        return RequestRefusedError("no")
    return None if said.startswith("never") else echo(request)


def rows_of(hand, state):
    return list(JoinedRows(hand.ledger, state))


def content_key(hand, file_id):
    assert file_id is not None
    return hand.ledger.keys.content(file_id)


def test_a_plan_that_came_after_the_end_adds_no_rows(hand):
    batch_id = hand.submit(bare("text"), plan=False)
    hand.finalize(batch_id, "cancelled")
    ledger = hand.ledger
    renderers = EmptyRegistry(Catalog({"m": MODEL}), Path())
    make_plan(ledger, ledger.batch(batch_id), renderers, Limits(2, 1_000, 1_000))
    assert rows_of(hand, ledger.state(batch_id)) == []


@given(st.lists(st.sampled_from(sorted(LINES)), min_size=1, max_size=12), st.booleans())
def test_every_request_is_a_row_with_the_result_of_its_line(kinds, mark):
    hand = Hand(shard_requests=3)
    data = b"\n".join(LINES[kind](n) for n, kind in enumerate(kinds))
    batch_id = hand.submit(b"\xef\xbb\xbf" * mark + data, on_invalid="skip")
    if not hand.plan(batch_id).failed():
        hand.run(batch_id, by_text)
        rows = rows_of(hand, hand.finalize(batch_id, "cancelled"))
        asked = [n for n, kind in enumerate(kinds, 1) if kind != "blank"]
        assert [row.line.number for row in rows] == asked
        for row in rows:
            assert json.loads(row.result)["id"] == request_id(batch_id, row.line.number)
            kind = kinds[row.line.number - 1]
            first = kind == "twice" and kinds.index("twice") == row.line.number - 1
            assert row.completed == (kind in {"good", "crlf"} or first)


def test_the_lines_are_the_inputs_own(hand):
    data = b"\xef\xbb\xbf" + bare("a") + b"\r\n\n" + bare("b")
    rows = rows_of(hand, hand.ended(data))
    assert [row.line.raw for row in rows] == [bare("a") + b"\r", bare("b")]


def test_results_are_the_files_own_lines(hand):
    state = hand.ended(bare("a") + b"\n" + bare("refused") + b"\n", by_text)
    good, bad = rows_of(hand, state)
    assert good.result + b"\n" == hand.file(state.final.output_file_id)
    assert bad.result + b"\n" == hand.file(state.final.error_file_id)


def test_a_long_line_is_read_again_when_its_bytes_are_needed(hand, monkeypatch):
    monkeypatch.setattr(module, "_LINE_BYTES", 90)
    long = bare("x" * 100)
    rows = JoinedRows(
        hand.ledger, hand.ended(bare("a") + b"\n" + long + b"\n" + bare("b"))
    )
    assert [rows.raw(row.line).strip() for row in rows] == [bare("a"), long, bare("b")]


@pytest.mark.parametrize("which", range(3))
def test_a_missing_result_is_an_error(hand, which):
    state = hand.ended(b"\n".join(bare(str(n)) for n in range(3)))
    key = content_key(hand, state.final.output_file_id)
    lines = hand.storage.get(key).splitlines(keepends=True)
    del lines[which]
    hand.storage.put(key, b"".join(lines))
    with pytest.raises(CorruptObjectError, match=f"no result for line {which + 1}"):
        rows_of(hand, state)


def test_a_result_without_a_request_is_an_error(hand):
    state = hand.ended(bare("a"))
    key = content_key(hand, state.final.output_file_id)
    hand.storage.put(key, hand.storage.get(key) * 2)
    with pytest.raises(CorruptObjectError, match="belongs to no input line"):
        rows_of(hand, state)


def test_a_batch_cancelled_before_planning_has_no_rows(hand):
    batch_id = hand.submit(bare("a"), plan=False)
    assert rows_of(hand, hand.finalize(batch_id, "cancelled")) == []


def test_an_unfinished_batch_has_no_rows(hand):
    state = hand.ledger.state(hand.submit(bare("a")))
    with pytest.raises(ConflictError, match="has not ended: it is in_progress"):
        JoinedRows(hand.ledger, state)


def test_a_failed_batch_has_no_rows(hand):
    state = hand.ledger.state(hand.submit(b"{"))
    with pytest.raises(ConflictError, match="failed, so it has no results"):
        JoinedRows(hand.ledger, state)


def test_large_results_are_split_correctly_at_chunk_borders(hand):
    source = random.Random(3)
    texts = ["x" * source.randint(1, 3_000_000) for _ in range(6)]
    answers = {f"q-{n}": completion(text) for n, text in enumerate(texts)}
    data = b"\n".join(whole(custom_id, "x") for custom_id in answers)
    rows = rows_of(hand, hand.ended(data, lambda request: answers[request.custom_id]))
    assert [len(row.result) > len(text) for row, text in zip(rows, texts, strict=True)]
    assert all(json.loads(row.result) for row in rows)
