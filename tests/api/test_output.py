"""Where results go, and in what form: what is ours of a create."""

from io import BytesIO

import pytest
from pyarrow import parquet

from tests.api.served import LINE, error_of
from tests.unit.ended import Hand, whole

DATA = b"".join(whole(f"q-{n}", f"text {n}") + b"\n" for n in range(7))


@pytest.fixture
def hand(served):
    return Hand(served.storage, shard_requests=3)


def ended(served, hand, data=DATA, **fields):
    """Create a batch, bring it to its end, and return its object."""
    batch_id = served.batch(data, **fields)
    hand.make_plan(batch_id)
    hand.run(batch_id)
    hand.finalize(batch_id)
    return served.client.get(f"/v1/batches/{batch_id}").json()


def content(served, file_id, **headers):
    return served.client.get(f"/v1/files/{file_id}/content", headers=headers)


def ids(data):
    return parquet.read_table(BytesIO(data))["custom_id"].to_pylist()


@pytest.mark.parametrize("formats", ["parquet", "both"])
def test_parquet_is_a_file_beside_the_output(served, hand, formats):
    batch = ended(served, hand, output_format=formats)
    assert batch["output_format"] == formats
    table = content(served, batch["output_parquet_file_id"]).content
    assert ids(table) == [f"q-{n}" for n in range(7)]
    assert content(served, batch["output_file_id"]).content.count(b"\n") == 7


def test_without_being_asked_for_there_is_none(served, hand):
    batch = ended(served, hand)
    assert batch["output_format"] == "jsonl"
    assert batch["output_parquet_file_id"] is None


def test_it_is_null_until_the_batch_has_ended(served):
    batch_id = served.batch(output_format="both")
    batch = served.client.get(f"/v1/batches/{batch_id}").json()
    assert batch["output_parquet_file_id"] is None


def test_it_is_listed_and_read_in_ranges(served, hand):
    file_id = ended(served, hand, output_format="both")["output_parquet_file_id"]
    listed = served.client.get("/v1/files", params={"purpose": "batch_output"}).json()
    [file] = [one for one in listed["data"] if one["id"] == file_id]
    assert file["filename"].endswith("_output.parquet")
    whole = content(served, file_id)
    assert len(whole.content) == file["bytes"]
    part = content(served, file_id, range="bytes=0-3")
    assert (part.status_code, part.content) == (206, b"PAR1")


def test_the_results_as_parquet_are_that_file_and_outlive_the_input(served, hand):
    batch = ended(served, hand, output_format="both")
    served.client.delete(f"/v1/files/{batch['input_file_id']}")
    place = f"/v1/batches/{batch['id']}/results?format=parquet"
    answer = served.client.get(place)
    kept = content(served, batch["output_parquet_file_id"])
    assert answer.content == kept.content
    assert answer.headers["content-length"] == f"{len(kept.content)}"


def test_once_it_is_deleted_the_results_are_made_anew(served, hand):
    batch = ended(served, hand, output_format="both")
    file_id = batch["output_parquet_file_id"]
    assert served.client.delete(f"/v1/files/{file_id}").json()["deleted"]
    assert content(served, file_id).status_code == 404
    place = f"/v1/batches/{batch['id']}/results?format=parquet"
    assert len(ids(served.client.get(place).content)) == 7


def test_it_is_gone_when_its_time_is_over(served, hand):
    kept = {"anchor": "created_at", "seconds": 3_600}
    batch = ended(served, hand, output_format="both", output_expires_after=kept)
    # the hand's clock stands in 1970
    assert content(served, batch["output_parquet_file_id"]).status_code == 404


def test_a_retry_wants_the_same_form(served, hand):
    batch_id = served.batch(DATA, output_format="both")
    hand.make_plan(batch_id)
    hand.finalize(batch_id, "expired")
    again = served.client.post(f"/v1/batches/{batch_id}/retry").json()
    assert again["output_format"] == "both"


@pytest.mark.parametrize("formats", ["csv", "", None, 1, ["jsonl"]])
def test_another_form_is_refused(served, formats):
    answer = served.create(served.upload(LINE), output_format=formats)
    assert answer.status_code == 400
    assert error_of(answer)["param"] == "output_format"
