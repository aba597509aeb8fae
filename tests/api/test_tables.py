"""Tables of results through the API."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from batchchat.jobs.rows.row_options import RowOptions
from tests.api.api_server import error_of
from tests.support.ended import Hand, bare
from tests.support.row_batches import ended_rows, submit_rows

TABLE = pa.table({"id": [4, 5, 6, 7], "question": list("abcd")})
ROWS = RowOptions(prompt="{{ question }}")


@pytest.fixture
def hand(served):
    return Hand(served.storage)


def results(served, batch_id, **params):
    place = f"/v1/batches/{batch_id}/results"
    return served.client.get(place, params={"format": "table", **params})


def ids(response):
    assert response.status_code == 200, response.text
    return [json.loads(line)["id"] for line in response.content.splitlines()]


def test_the_rows_of_a_running_batch_are_appended(served, hand):
    batch_id = submit_rows(hand, TABLE, rows=ROWS)
    shards = hand.plan(batch_id).shards
    hand.checkpoint(batch_id, 1, hand.results(batch_id, shards[1]))
    assert ids(results(served, batch_id)) == []
    assert ids(results(served, batch_id, partial="true")) == [6, 7]
    hand.run(batch_id, shards=1)
    running = results(served, batch_id)
    assert ids(running)[:2] == [4, 5]
    assert running.headers["x-batchchat-complete"] == "false"
    hand.run(batch_id)
    hand.finalize(batch_id)
    ended = results(served, batch_id)
    assert ended.content.startswith(running.content)
    assert ended.headers["x-batchchat-complete"] == "true"
    assert ids(results(served, batch_id, after=3)) == [7]


def test_after_counts_the_lines_of_the_same_table(served, hand):
    batch_id = ended_rows(hand, TABLE, rows=ROWS).batch.id
    table = {"only": "completed", "columns": "id"}
    assert ids(results(served, batch_id, after=2, **table)) == [6, 7]


def test_a_query_chooses_the_columns_of_both_formats(served, hand):
    batch_id = ended_rows(hand, TABLE, rows=ROWS).batch.id
    chosen = {"columns": '"question"', "response": "false"}
    line = json.loads(results(served, batch_id, **chosen).content.splitlines()[0])
    data = results(served, batch_id, **(chosen | {"format": "parquet"})).content
    names = parquet.read_table(pa.BufferReader(data)).column_names
    assert [*line] == names
    assert names[:2] == ["question", "row"]
    assert "response" not in names


def test_the_options_of_a_batch_are_those_of_its_tables(served, hand):
    options = {"output_only": "completed", "output_response": False}
    batch_id = served.batch(b"\n".join([bare("a"), bare("b")]), **options)
    hand.make_plan(batch_id)
    hand.run(batch_id)
    hand.finalize(batch_id)
    batch = served.client.get(f"/v1/batches/{batch_id}").json()
    assert {name: batch[name] for name in options} == options
    assert (batch["output_columns"], batch["has_rows"]) == (None, False)
    for line in results(served, batch_id).content.splitlines():
        assert "response" not in json.loads(line)


def test_an_unknown_column_is_a_bad_request(served, hand):
    batch_id = ended_rows(hand, TABLE, rows=ROWS).batch.id
    for kind in ("table", "parquet"):
        response = results(served, batch_id, format=kind, columns="ids")
        assert response.status_code == 400
        assert "no column `ids`" in error_of(response)["message"]


def test_a_deleted_input_is_not_found_unless_no_column_is_wanted(served, hand):
    state = ended_rows(hand, TABLE, rows=ROWS)
    hand.storage.delete(hand.ledger.keys.content(state.batch.input_file_id))
    response = results(served, state.batch.id)
    assert response.status_code == 404
    assert error_of(response)["code"] == "file_deleted"
    assert results(served, state.batch.id, columns="none").status_code == 200


def test_the_files_of_a_batch_of_rows_have_the_lines_of_openai(served, hand):
    state = ended_rows(hand, TABLE, rows=ROWS)
    assert state.final
    content = served.client.get(f"/v1/files/{state.final.output_file_id}/content")
    for line in content.content.splitlines():
        assert [*json.loads(line)] == ["id", "custom_id", "response", "error"]
