"""Tables of results in JSON lines, of ended and of running batches."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO

import pyarrow as pa
import pytest

from batchchat.jobs.engine.protocol import Choice, Completion
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.results.export import export
from batchchat.jobs.results.joined_rows import outcome_of
from batchchat.jobs.results.json_table import FinishedTable, write_json_table
from batchchat.jobs.results.json_values import json_lines, values
from batchchat.jobs.rows.row_options import RowOptions
from tests.support.ended import Hand, bare, echo
from tests.support.row_batches import ended_rows, read_parquet, submit_rows

TABLE = pa.table({"id": [7, 8, 9], "question": ["a", "b", "c"]})
ASKED = RowOptions(prompt="{{ question }}")


@pytest.fixture
def hand():
    return Hand()


def failing(*lines):
    def answer(request):
        if request.line in lines:
            return RequestRefusedError("no", code="x")
        return echo(request)

    return answer


def written(hand, state, *options):
    sink = BytesIO()
    write_json_table(hand.ledger, state, sink, *options)
    return [
        json.loads(line, parse_float=Decimal) for line in sink.getvalue().splitlines()
    ]


def test_every_type_has_a_json_form():
    utc = pa.timestamp("ns", "Europe/Berlin")
    columns = {
        "decimal": pa.array([Decimal("1.50")], pa.decimal128(20, 2)),
        "large": pa.array([2**64 - 1], pa.uint64()),
        "nan": pa.array([float("nan")]),
        "infinite": pa.array([float("-inf")]),
        "local": pa.array([datetime(2026, 1, 31, 12)], pa.timestamp("s")),  # noqa: DTZ001
        "zoned": pa.array([datetime(2026, 1, 31, 12, tzinfo=UTC)], utc),
        "day": pa.array([date(2026, 1, 31)]),
        "time": pa.array([3_661], pa.time32("s")),
        "duration": pa.array([1_500], pa.duration("ms")),
        "binary": pa.array([b"ab"]),
        "word": pa.array(["x"]).dictionary_encode(),
        "json": pa.array(['{"a":\n [1]}'], pa.json_()),
        "broken": pa.array(["{a"], pa.json_()),
        "object": pa.array([{"a": [date(2026, 1, 31), None]}]),
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())),
        "pairs": pa.array([[(1, "v")]], pa.map_(pa.int8(), pa.string())),
        "fixed": pa.array([[1, 2]], pa.list_(pa.int8(), 2)),
        "text": pa.array(["a\n\u2028"], pa.large_string()),
    }
    [line, nulls] = json_lines(pa.concat_tables([pa.table(columns), _nulls(columns)]))
    assert line.count(b"\n") == 1
    assert b"\xe2\x80\xa8" not in line
    assert json.loads(line, parse_float=str) == {
        "decimal": "1.50",
        "large": 2**64 - 1,
        "nan": None,
        "infinite": None,
        "local": "2026-01-31T12:00:00",
        "zoned": "2026-01-31T12:00:00.000000000Z",
        "day": "2026-01-31",
        "time": "01:01:01",
        "duration": 1_500,
        "binary": "YWI=",
        "word": "x",
        "json": {"a": [1]},
        "broken": "{a",
        "object": {"a": ["2026-01-31", None]},
        "map": {"k": 1},
        "pairs": [[1, "v"]],
        "fixed": [1, 2],
        "text": "a\n\u2028",
    }
    assert json.loads(nulls) == dict.fromkeys(columns)


def _nulls(columns):
    schema = pa.schema({name: column.type for name, column in columns.items()})
    return pa.table([pa.nulls(1, kind) for kind in schema.types], schema=schema)


def test_parts_of_nested_arrays_have_their_own_values():
    lists = pa.array([["a"], None, ["b", "c"], []], pa.list_(pa.string()))
    pairs = [[("k", 1)], None, [("l", 2), ("m", None)], []]
    maps = pa.array(pairs, pa.map_(pa.string(), pa.int8()))
    fixed = pa.array([[1, 2], None, [3, None], [5, 6]], pa.list_(pa.int8(), 2))
    for begin in range(4):
        for end in range(begin, 5):
            part = slice(begin, end)
            length = end - begin
            expected = [["a"], None, ["b", "c"], []][part]
            assert values(lists.slice(begin, length)) == expected
            objects = [pair if pair is None else dict(pair) for pair in pairs][part]
            assert values(maps.slice(begin, length)) == objects
            assert values(fixed.slice(begin, length)) == fixed.to_pylist()[part]


def test_a_table_without_any_answer_has_null_for_messages(hand):
    state = ended_rows(hand, TABLE, failing(1, 2, 3), rows=ASKED)
    rows = written(hand, state)
    assert [row["messages"] for row in rows] == [None] * 3
    assert [row["tool_calls"] for row in rows] == [None] * 3


def test_text_that_is_no_utf_8_has_replacement_characters():
    column = pa.array([b"a\xff", None]).view(pa.string())
    [line, null] = json_lines(pa.table({"a": column}))
    assert json.loads(line) == {"a": "a\ufffd"}
    assert json.loads(null) == {"a": None}


def test_a_line_has_the_columns_of_the_parquet_file(hand):
    state = ended_rows(hand, TABLE, failing(2), rows=ASKED)
    rows = written(hand, state)
    table = read_parquet(hand, state)
    assert [[*row] for row in rows] == [table.column_names] * 3
    assert [row["id"] for row in rows] == [7, 8, 9]
    assert [row["content"] for row in rows] == ["re: a", None, "re: c"]
    assert rows[1]["error_code"] == "x"
    assert rows[0]["response"]["status_code"] == 200
    assert rows[0]["messages"][0]["content"] == "a"
    assert rows[0]["estimated_cost"] == table["estimated_cost"][0].as_py()


def test_tool_calls_are_objects(hand):
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a": 1}'},
    }
    choice = Choice(
        index=0,
        text=None,
        finish_reason="tool_calls",
        tool_calls=[call],
        reasoning="because",
    )
    answer = Completion(choices=[choice], prompt_tokens=3, completion_tokens=5)
    state = ended_rows(hand, TABLE.slice(0, 1), lambda _: answer, rows=ASKED)
    [row] = written(hand, state)
    [made] = row["tool_calls"]
    assert made["function"] == {"name": "f", "arguments": {"a": 1}}
    assert row["messages"][-1]["tool_calls"] == row["tool_calls"]
    assert row["reasoning_content"] == "because"
    [text] = read_parquet(hand, state)["tool_calls"][0].as_py()
    assert json.loads(text) == made


def test_the_exported_lines_of_a_batch_of_rows_are_one_table(hand, tmp_path):
    state = ended_rows(hand, TABLE, failing(2), rows=ASKED)
    stale = tmp_path / "out.errors.jsonl"
    stale.write_text("of an earlier run")
    output = tmp_path / "out.jsonl"
    assert export(hand.ledger, state.batch.id, output, "jsonl") == [output]
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["row"] for row in rows] == [1, 2, 3]
    assert not stale.exists()


def test_the_stored_files_of_a_batch_of_rows_have_the_lines_of_openai(hand):
    state = ended_rows(hand, TABLE, failing(2), rows=ASKED)
    final = outcome_of(state)
    good, bad = final.output_file_id, final.error_file_id
    lines = [*hand.lines(good), *hand.lines(bad)]
    assert [[*line] for line in lines] == [["id", "custom_id", "response", "error"]] * 3
    assert [line["custom_id"] for line in lines] == ["row-1", "row-3", "row-2"]


def test_lines_without_a_response_are_a_table_for_requests_too(hand, tmp_path):
    state = hand.ended(b"\n".join([bare("a"), bare("b")]), failing(2))
    options = TableOptions(response=False)
    export(hand.ledger, state.batch.id, tmp_path / "o.jsonl", "jsonl", options)
    rows = [
        json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()
    ]
    assert [row["status"] for row in rows] == ["completed", "failed"]
    assert all("response" not in row for row in rows)


def test_completed_lines_alone_leave_out_the_error_file(hand, tmp_path):
    state = hand.ended(b"\n".join([bare("a"), bare("b")]), failing(2))
    options = TableOptions(only_completed=True)
    output = tmp_path / "o.jsonl"
    written = export(hand.ledger, state.batch.id, output, "jsonl", options)
    assert written == [output]
    assert output.read_bytes() == hand.file(outcome_of(state).output_file_id)


def test_a_running_batch_gives_each_finished_row_once(hand):
    hand.shard_requests = 4
    table = pa.table({"id": range(12), "question": [f"q{n}" for n in range(12)]})
    batch_id = submit_rows(hand, table, rows=ASKED)
    finished = FinishedTable(hand.ledger, None)

    def new():
        lines = finished.new(hand.ledger.state(batch_id))
        return [json.loads(line) for _, line in lines]

    assert new() == []
    shards = hand.plan(batch_id).shards
    results = hand.results(batch_id, shards[1])
    hand.checkpoint(batch_id, 1, results[2:])
    assert [row["id"] for row in new()] == [6, 7]
    hand.commit(batch_id, 0, hand.results(batch_id, shards[0], failing(2)))
    found = new()
    assert [row["id"] for row in found] == [0, 1, 2, 3]
    assert [row["status"] for row in found].count("failed") == 1
    assert [row["content"] for row in found][2] == "re: q2"
    assert new() == []
    hand.commit(batch_id, 1, results)
    hand.commit(batch_id, 2, hand.results(batch_id, shards[2]))
    hand.finalize(batch_id)
    assert [row["id"] for row in new()] == [4, 5, 8, 9, 10, 11]
    assert new() == []
