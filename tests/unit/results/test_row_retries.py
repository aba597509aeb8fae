"""Retries of a batch of rows: their results have the columns of the rows."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from batchchat.jobs.errors import CorruptObjectError, RequestRefusedError
from batchchat.jobs.results.export import export
from batchchat.jobs.results.json_table import FinishedTable
from batchchat.jobs.results.retry import retry_input, retry_options
from batchchat.jobs.rows.row_options import RowOptions
from tests.support.batch_options import options_of
from tests.support.ended import Hand, completion, echo
from tests.support.row_batches import ended_rows, read_parquet

TABLE = pa.table({"name": [f"n{n}" for n in range(5)], "question": list("abcde")})
SAMPLES = RowOptions(prompt="{{ question }}", samples=2)
NAMED = RowOptions(prompt="{{ question }}", id_column="name")


@pytest.fixture
def hand():
    return Hand()


def failing(*custom_ids):
    def answer(request):
        if request.custom_id in custom_ids:
            return RequestRefusedError("no", code="x", status_code=500)
        return echo(request)

    return answer


def submit_retry(hand, state, *, merge=False):
    data = b"".join(retry_input(hand.ledger, state))
    options = retry_options(hand.ledger.batch(state.batch.id), merge=merge)
    return hand.submit(data, **options_of(options))


def retried(hand, state, answer=echo, *, merge=False):
    batch_id = submit_retry(hand, state, merge=merge)
    hand.run(batch_id, answer)
    return hand.finalize(batch_id)


FAILED = ("row-2-sample-1", "row-4-sample-1", "row-4-sample-2", "row-5-sample-2")


def test_a_retry_has_the_columns_of_the_rows_that_it_repeats(hand):
    first = ended_rows(hand, TABLE, failing(*FAILED), rows=SAMPLES)
    found = read_parquet(hand, retried(hand, first)).to_pydict()
    assert found["custom_id"] == [*FAILED]
    assert found["name"] == ["n1", "n3", "n3", "n4"]
    assert found["row"] == [2, 4, 4, 5]
    assert found["sample"] == [1, 1, 2, 2]
    assert found["prompt_text"] == ["b", "d", "d", "e"]


def test_a_retry_of_a_retry_finds_the_same_rows(hand):
    rows = ("n0", "n2", "n3")
    first = ended_rows(hand, TABLE, failing(*rows), rows=NAMED)
    second = retried(hand, first, failing("n0", "n3"))
    third = retried(hand, second, failing("n3"))
    found = read_parquet(hand, third).to_pydict()
    assert found["name"] == ["n0", "n3"]
    assert found["question"] == ["a", "d"]
    assert found["status"] == ["completed", "failed"]


def test_a_merged_retry_has_all_rows_in_one_file(hand, tmp_path):
    first = ended_rows(hand, TABLE, failing(*FAILED), rows=SAMPLES)
    second = retried(hand, first, failing("row-4-sample-2"))
    third = retried(hand, second, lambda _: completion("new"), merge=True)
    paths = export(hand.ledger, third.batch.id, tmp_path / "all.jsonl", "both")
    assert [path.name for path in paths] == ["all.jsonl", "all.parquet"]
    table = parquet.read_table(tmp_path / "all.parquet").to_pydict()
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert table["name"] == [row["name"] for row in rows]
    assert table["name"] == [f"n{n}" for n in range(5) for _ in range(2)]
    assert table["sample"] == [1, 2] * 5
    assert table["status"] == ["completed"] * 10
    assert [row["content"] == "new" for row in rows].index(True) == 7


def test_a_running_retry_gives_its_rows(hand):
    first = ended_rows(hand, TABLE, failing("n1", "n2", "n4"), rows=NAMED)
    batch_id = submit_retry(hand, first)
    finished = FinishedTable(hand.ledger, None)
    results = hand.results(batch_id, hand.plan(batch_id).shards[0])
    hand.checkpoint(batch_id, 0, results[1:])

    def names():
        lines = finished.new(hand.ledger.state(batch_id))
        return [json.loads(line)["name"] for _, line in lines]

    assert names() == ["n2"]
    hand.run(batch_id)
    assert names() == ["n1", "n4"]


def test_a_line_that_repeats_none_is_an_error(hand):
    first = ended_rows(hand, TABLE, failing("n1"), rows=NAMED)
    again = retried(hand, first)
    key = hand.ledger.keys.batch(first.batch.id).requests
    hand.storage.put(key, hand.storage.get(key).replace(b'"n1"', b'"m1"'))
    with pytest.raises(CorruptObjectError, match="repeats no other line"):
        read_parquet(hand, again)
