"""Tables of rows are delivered completely, whatever is killed."""

import json
from io import BytesIO

import pyarrow as pa
import pytest
from pyarrow import parquet

from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.results.delivery import attempt_delivery, is_due
from batchchat.jobs.rows.row_options import RowOptions
from batchchat.jobs.storage import MemoryStorage
from tests.support.ended import Hand
from tests.support.row_batches import ended_rows

TABLE = pa.table({"id": [1, 2, 3], "question": ["a", "b", "c"]})
ASKED = {
    "rows": RowOptions(prompt="{{ question }}"),
    "destination": "s3://bucket/x",
    "output_format": "both",
}


class Killed(BaseException):
    """The process dies here."""


class Deadly(MemoryStorage):
    """A storage that kills the process that writes to it, after some writes."""

    left = 9

    def put(self, key, data):
        self.left -= 1
        if self.left < 0:
            raise Killed
        super().put(key, data)


@pytest.fixture
def hand():
    return Hand()


def stored(place):
    return {entry.key: place.get(entry.key) for entry in place.list("")}


def delivered(hand, state, place):
    attempt_delivery(hand.ledger, hand.ledger.state(state.batch.id), lambda _: place)
    return hand.ledger.state(state.batch.id)


def test_both_files_have_the_columns_and_there_is_no_error_file(hand):
    options = TableOptions(columns=("id",), response=False)
    state = ended_rows(hand, TABLE, **ASKED, table=options)
    place = MemoryStorage()
    assert delivered(hand, state, place).is_delivered
    files = {key.rpartition("_")[2]: data for key, data in stored(place).items()}
    assert files.keys() == {"output.jsonl", "output.parquet"}
    rows = [json.loads(line) for line in files["output.jsonl"].splitlines()]
    table = parquet.read_table(BytesIO(files["output.parquet"]))
    for names in (table.column_names, [*rows[0]]):
        assert names[:3] == ["id", "row", "sample"]
        assert "response" not in names
    assert [row["id"] for row in rows] == table["id"].to_pylist() == [1, 2, 3]


@pytest.mark.parametrize("writes", range(2))
def test_a_delivery_that_is_killed_is_repeated_with_the_same_bytes(hand, writes):
    state = ended_rows(hand, TABLE, **ASKED)
    place = Deadly()
    place.left = writes
    with pytest.raises(Killed):
        delivered(hand, state, place)
    assert is_due(hand.ledger.state(state.batch.id), 1_000)
    place.left = 9
    assert delivered(hand, state, place).is_delivered
    undisturbed = MemoryStorage()
    hand.storage.delete(hand.ledger.keys.batch(state.batch.id).delivery_receipt)
    delivered(hand, state, undisturbed)
    assert stored(place) == stored(undisturbed)


def test_a_missing_input_is_retried_and_then_recorded(hand):
    state = ended_rows(hand, TABLE, **ASKED)
    key = hand.ledger.keys.content(state.batch.input_file_id)
    data = hand.storage.get(key)
    hand.storage.delete(key)
    failed = delivered(hand, state, MemoryStorage())
    assert "was deleted" in failed.delivery_attempt.error
    assert not failed.is_delivered
    hand.storage.put(key, data)
    assert delivered(hand, state, MemoryStorage()).is_delivered


def test_a_batch_whose_input_is_missing_ends_without_a_parquet_file(hand, caplog):
    state = ended_rows(hand, TABLE, **ASKED)
    keys = hand.ledger.keys
    hand.storage.delete(keys.batch(state.batch.id).final)
    hand.storage.delete(keys.content(state.batch.input_file_id))
    ended = hand.finalize(state.batch.id)
    assert ended.status == "completed"
    assert ended.final.parquet_file_id is None
    assert "ends without a Parquet file" in caplog.text
