"""The stored Parquet file of a batch."""

from io import BytesIO

import pytest
from pyarrow import parquet

from batchchat.jobs.errors import CorruptObjectError, StorageError
from batchchat.jobs.files.files import Files
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.results import parquet_file as module
from batchchat.jobs.results.export import export
from batchchat.jobs.storage import MemoryStorage
from tests.support.ended import Hand, completion, whole

DATA = b"".join(whole(f"q-{i}", f"text {i}") + b"\n" for i in range(5))


@pytest.fixture
def hand():
    return Hand()


def rows(data):
    return parquet.read_table(BytesIO(data)).to_pylist()


@pytest.mark.parametrize("formats", ["parquet", "both"])
def test_the_parquet_file_has_a_row_per_request_and_is_a_file(hand, formats):
    state = hand.ended(DATA, output_format=formats)
    final = state.final
    file = Files(hand.ledger).get(final.parquet_file_id)
    content = hand.file(file.id)
    assert [row["custom_id"] for row in rows(content)] == [f"q-{i}" for i in range(5)]
    assert file.bytes == final.parquet_bytes == len(content)
    assert file.filename == f"{state.batch.id}_output.parquet"
    assert file.purpose == "batch_output"
    assert len(hand.lines(final.output_file_id)) == 5


def test_by_default_there_is_no_parquet_file(hand):
    assert hand.ended(DATA).final.parquet_file_id is None


def test_requests_that_never_ran_have_their_rows_too(hand):
    batch_id = hand.submit(DATA, output_format="both")
    hand.run(batch_id, shards=1)
    state = hand.finalize(batch_id, "cancelled")
    codes = [row["error_code"] for row in rows(hand.file(state.final.parquet_file_id))]
    assert codes == [None, None, *["batch_cancelled"] * 3]


def test_a_batch_without_a_plan_has_no_parquet_file(hand):
    batch_id = hand.submit(DATA, output_format="both", plan=False)
    assert hand.finalize(batch_id, "cancelled").final.parquet_file_id is None


def test_the_parquet_file_expires_with_the_output_file(hand):
    state = hand.ended(DATA, output_format="both", output_expires_after=3_600)
    assert hand.ledger.file(state.final.parquet_file_id).expires_at == 4_600


@pytest.mark.parametrize("error", [CorruptObjectError("torn"), ValueError("secret")])
def test_a_failing_parquet_file_does_not_stop_the_batch_from_ending(
    hand, monkeypatch, caplog, error
):
    def fail(*_):
        raise error

    monkeypatch.setattr(module, "write_parquet", fail)
    state = hand.ended(DATA, output_format="both")
    assert state.status == "completed"
    assert state.final.parquet_file_id is None
    assert len(hand.lines(state.final.output_file_id)) == 5
    assert "ends without a Parquet file" in caplog.text
    assert "secret" not in caplog.text


def test_a_storage_error_stops_finalizing_until_a_retry(hand, monkeypatch):
    batch_id = hand.submit(DATA, output_format="both")
    hand.run(batch_id)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_parquet", lambda *_: away())
        with pytest.raises(StorageError):
            hand.finalize(batch_id)
    assert hand.ledger.state(batch_id).final is None
    assert hand.finalize(batch_id).final.parquet_file_id


def away():
    raise StorageError("away")


def test_results_are_exported_with_and_without_the_stored_parquet_file(hand, tmp_path):
    state = hand.ended(DATA, lambda _: completion("x"), output_format="both")
    table = state.final.parquet_file_id
    place = tmp_path / "out.parquet"
    export(hand.ledger, state.batch.id, place, "parquet")
    assert place.read_bytes() == hand.file(table)
    Files(hand.ledger).delete(table)
    place.unlink()
    export(hand.ledger, state.batch.id, place, "parquet")
    assert len(rows(place.read_bytes())) == 5


class Overtaken(MemoryStorage):
    """A storage in which another finalizer is always a moment quicker."""

    is_overtaken = False

    def create(self, key, data):
        if key.endswith("/final.json") and not self.is_overtaken:
            self.is_overtaken = True
            Hand(self).finalize(key.split("/")[-2])
        return super().create(key, data)


def test_of_two_finalizers_one_parquet_file_remains():
    hand = Hand(Overtaken())
    state = hand.ended(DATA, output_format="both")
    assert state.final
    contents = {e.key for e in hand.storage.list("") if e.key.endswith("/content")}
    ids = [state.batch.input_file_id, *state.final.file_ids]
    assert contents == {hand.ledger.keys.content(file_id) for file_id in ids}


def test_unpublished_results_are_not_orphans(hand):
    state = hand.ended(DATA, output_format="both")
    table = state.final.parquet_file_id
    hand.storage.delete(hand.ledger.keys.file(table))
    Files(Ledger(hand.storage, "default", lambda: 4e9)).sweep()
    assert hand.file(table)
