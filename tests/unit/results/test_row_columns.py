"""The columns of the input's rows in the results."""

import json
from io import BytesIO

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from batchchat.jobs.errors import (
    CorruptObjectError,
    NotFoundError,
    RequestRefusedError,
    UsageError,
)
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.results import table as module
from batchchat.jobs.results.parquet import write_parquet
from batchchat.jobs.rows.row_options import RowOptions
from tests.support.ended import Hand, bare, echo
from tests.support.row_batches import (
    ended_rows,
    parquet_bytes,
    read_parquet,
    submit_rows,
)
from tests.support.tables import tables


def failing(lines):
    def answer(request):
        if request.line in lines:
            return RequestRefusedError("no", code="x")
        return echo(request)

    return answer


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    table=tables(),
    samples=st.integers(1, 3),
    failed=st.sets(st.integers(1, 36)),
    row_group_size=st.integers(1, 5),
    group_rows=st.integers(1, 5),
    only_completed=st.booleans(),
)
def test_the_columns_of_the_input_are_in_the_results_row_by_row(
    *, table, samples, failed, row_group_size, group_rows, only_completed
):
    hand = Hand()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUP_ROWS", group_rows)
        patch.setattr(module, "_DECODED_ROWS", group_rows)
        state = ended_rows(
            hand,
            table,
            failing(failed),
            rows=RowOptions(prompt="hi", samples=samples),
            row_group_size=row_group_size,
        )
        options = TableOptions(only_completed=only_completed)
        found = read_parquet(hand, state, options)
    lines = [
        line
        for line in range(1, table.num_rows * samples + 1)
        if not (only_completed and line in failed)
    ]
    stored = pa.BufferReader(parquet_bytes(table))
    expected = parquet.read_table(stored).take([(n - 1) // samples for n in lines])
    names = found.schema.metadata.get(b"batchchat.renamed_columns")
    assert names is None
    columns = found.select(table.column_names)
    assert columns.schema.equals(expected.schema)
    assert columns.equals(expected)
    assert found["row"].to_pylist() == [(n - 1) // samples + 1 for n in lines]
    assert found["sample"].to_pylist() == [(n - 1) % samples + 1 for n in lines]
    statuses = ["failed" if n in failed else "completed" for n in lines]
    assert found["status"].to_pylist() == statuses


TABLE = pa.table({"id": [7, 8, 9], "question": ["a", "b", "c"]})
ASKED = RowOptions(prompt="{{ question }}")


@pytest.fixture
def hand():
    return Hand()


def test_a_row_has_its_columns_and_those_of_its_answer(hand):
    state = ended_rows(hand, TABLE, rows=ASKED)
    found = read_parquet(hand, state)
    assert found.column_names[:5] == ["id", "question", "row", "sample", "prompt_text"]
    row = found.slice(1, 1).to_pylist()[0]
    assert row["prompt_text"] == "b"
    assert row["content"] == "re: b"
    assert row["custom_id"] == "row-2"
    assert (row["reasoning_content"], row["tool_calls"]) == (None, None)


def test_a_failed_row_keeps_its_columns_beside_its_error(hand):
    found = read_parquet(hand, ended_rows(hand, TABLE, failing({2}), rows=ASKED))
    row = found.to_pylist()[1]
    assert (row["id"], row["question"], row["row"]) == (8, "b", 2)
    assert (row["status"], row["error_code"]) == ("failed", "x")
    assert row["error_message"] == "no"
    assert row["content"] is row["prompt_text"] is row["messages"] is None


def test_a_row_that_cannot_be_rendered_keeps_its_columns(hand):
    table = pa.table({"question": ["a", None, "c"], "id": [1, 2, 3]})
    rows = RowOptions(prompt_column="question")
    found = read_parquet(hand, ended_rows(hand, table, rows=rows))
    assert found["question"].to_pylist() == ["a", None, "c"]
    assert found["id"].to_pylist() == [1, 2, 3]
    assert found["status"].to_pylist() == ["completed", "failed", "completed"]


def test_names_of_result_columns_get_a_prefix_in_the_input(hand):
    table = pa.table(
        {"content": ["x"], "Line": [3], "input_content": ["y"], "question": ["a"]}
    )
    state = ended_rows(hand, table, rows=ASKED)
    found = read_parquet(hand, state)
    renamed = {"content": "input_input_content", "Line": "input_Line"}
    assert found["input_input_content"].to_pylist() == ["x"]
    assert found["input_Line"].to_pylist() == [3]
    assert found["input_content"].to_pylist() == ["y"]
    assert found["content"].to_pylist() == ["re: a"]
    assert found["line"].to_pylist() == [1]
    metadata = found.schema.metadata[b"batchchat.renamed_columns"]
    assert json.loads(metadata) == renamed
    assert state.require_plan().renamed_columns == renamed


def test_chosen_columns_are_in_the_order_of_the_choice(hand):
    table = TABLE.append_column("seed", [[1, 2, 3]])
    state = ended_rows(hand, table, rows=ASKED)
    found = read_parquet(hand, state, TableOptions(columns=("seed", "id", "id")))
    assert found.column_names[:3] == ["input_seed", "id", "row"]
    assert "question" not in found.column_names
    assert found["id"].to_pylist() == [7, 8, 9]


def test_no_columns_need_no_input(hand):
    state = ended_rows(hand, TABLE, rows=ASKED)
    hand.storage.delete(hand.ledger.keys.content(state.batch.input_file_id))
    found = read_parquet(hand, state, TableOptions(columns=()))
    assert found.column_names[:2] == ["row", "sample"]
    assert found["row"].to_pylist() == [1, 2, 3]
    with pytest.raises(NotFoundError) as error:
        read_parquet(hand, state)
    assert error.value.hint == "write the results without them: `--columns none`"


def test_an_unknown_column_is_an_error_that_names_the_nearest_one(hand):
    state = ended_rows(hand, TABLE, rows=ASKED)
    with pytest.raises(UsageError, match="no column `questions`") as error:
        read_parquet(hand, state, TableOptions(columns=("id", "questions")))
    assert error.value.hint == "use `--columns question`"


def test_a_batch_with_an_unknown_column_fails_before_it_runs(hand):
    options = TableOptions(columns=("questions",))
    state = hand.ledger.state(submit_rows(hand, TABLE, rows=ASKED, table=options))
    assert state.status == "failed"
    [problem] = state.plan.problems
    assert "the input has no column `questions`" in problem.message


def test_columns_of_a_batch_of_requests_are_an_error(hand):
    state = hand.ended(bare("x"))
    with pytest.raises(UsageError, match="its input is no table"):
        read_parquet(hand, state, TableOptions(columns=("id",)))


@pytest.mark.parametrize("has_rows", [True, False])
def test_tables_of_both_kinds_can_leave_out_responses_and_failures(hand, has_rows):
    data = b"\n".join([bare("a"), bare("b"), bare("c")])
    state = (
        ended_rows(hand, TABLE, failing({2}), rows=ASKED)
        if has_rows
        else hand.ended(data, failing({2}))
    )
    full = read_parquet(hand, state)
    options = TableOptions(response=False, only_completed=True)
    found = read_parquet(hand, state, options)
    assert [n for n in full.column_names if n not in found.column_names] == ["response"]
    assert found["line"].to_pylist() == [1, 3]
    assert found.equals(full.take([0, 2]).drop_columns(["response"]))


def test_big_rows_bound_the_size_of_a_row_group(hand, monkeypatch):
    monkeypatch.setattr(module, "_GROUP_BYTES", 20_000)
    monkeypatch.setattr(module, "_DECODED_ROWS", 2)
    table = pa.table({"question": ["a"] * 8, "image": [b"x" * 9_000] * 8})
    state = ended_rows(hand, table, rows=ASKED)
    sink = BytesIO()
    write_parquet(hand.ledger, state, sink)
    metadata = parquet.ParquetFile(sink).metadata
    groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    assert groups == [4, 4]


def test_a_result_without_a_row_is_an_error(hand):
    state = ended_rows(hand, TABLE, rows=ASKED)
    key = hand.ledger.keys.content(state.batch.input_file_id)
    hand.storage.put(key, parquet_bytes(TABLE.slice(0, 2)))
    with pytest.raises(CorruptObjectError, match=r"2 rows, but .* row 3"):
        read_parquet(hand, state)
