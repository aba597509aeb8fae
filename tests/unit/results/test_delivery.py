"""Results are delivered completely, after any number of failures."""

from io import BytesIO

import pytest
from pyarrow import parquet

from batchchat.jobs.errors import ObjectMissingError, OutputError, StorageError
from batchchat.jobs.files.files import Files
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.results import delivery as module
from batchchat.jobs.results.delivery import attempt_delivery, deliver, is_due
from batchchat.jobs.storage import LocalStorage, MemoryStorage
from tests.support.ended import Hand, completion, whole

DATA = b"".join(whole(f"q-{i}", f"text {i}") + b"\n" for i in range(4))
DAY = 86_400


class Yard:
    """A batch that has ended, and the place that it is to be delivered to."""

    def __init__(self, **options):
        self.hand = Hand()
        asked = {"destination": "s3://bucket/x", "output_format": "both"} | options
        self.batch_id = self.hand.ended(DATA, half, **asked).batch.id
        self.place = MemoryStorage()
        self.error = None
        self.opened = 0

    def open(self, url):
        assert url == "s3://bucket/x"
        self.opened += 1
        if self.error:
            raise self.error
        return self.place

    def ledger(self, seconds=0):
        """The ledger a number of seconds after the end of the batch."""
        return Ledger(self.hand.storage, "default", lambda: 1_000.0 + seconds)

    @property
    def state(self):
        return self.ledger().state(self.batch_id)

    def attempt(self, seconds=0):
        attempt_delivery(self.ledger(seconds), self.state, self.open)
        return self.state


def half(request):
    from batchchat.jobs.errors import RequestRefusedError

    return completion("yes") if request.line % 2 else RequestRefusedError("no")


@pytest.fixture
def yard():
    return Yard()


def stored(place):
    return {entry.key: place.get(entry.key) for entry in place.list("")}


def test_each_delivered_file_is_named_after_its_batch(yard):
    state = yard.attempt()
    name, final = f"{yard.batch_id}_", state.final
    there = stored(yard.place)
    assert there.pop(f"{name}output.jsonl") == yard.hand.file(final.output_file_id)
    assert there.pop(f"{name}error.jsonl") == yard.hand.file(final.error_file_id)
    table = parquet.read_table(BytesIO(there.pop(f"{name}output.parquet")))
    assert table["line"].to_pylist() == [1, 2, 3, 4]
    assert there == {}
    assert state.delivery_receipt.files == [
        f"memory:///{name}{one}"
        for one in ("output.jsonl", "error.jsonl", "output.parquet")
    ]


@pytest.mark.parametrize(
    ("formats", "endings"),
    [("jsonl", {"error.jsonl", "output.jsonl"}), ("parquet", {"output.parquet"})],
)
def test_only_requested_formats_are_delivered(formats, endings):
    yard = Yard(output_format=formats)
    yard.attempt()
    assert {key.rpartition("_")[2] for key in stored(yard.place)} == endings


def test_results_are_delivered_to_a_folder(yard, tmp_path):
    deliver(yard.ledger(), yard.state, lambda _: LocalStorage(tmp_path / "new" / "one"))
    [table] = tmp_path.rglob("*.parquet")
    assert parquet.read_table(table).num_rows == 4
    assert yard.state.delivery_receipt.files[2] == table.as_uri()


def test_delivered_results_are_not_written_again(yard):
    state = yard.attempt()
    assert state.is_delivered
    assert not is_due(state, 10**9)
    deliver(yard.ledger(), state, yard.open)
    assert yard.opened == 1


def test_without_a_destination_there_is_nothing_to_deliver(yard):
    state = yard.hand.ended(DATA)
    assert state.is_delivered
    deliver(yard.ledger(), state, yard.open)
    assert yard.opened == 0


def test_a_failed_batch_has_nothing_to_deliver(yard):
    batch_id = yard.hand.submit(b"no JSON\n", destination="s3://bucket/x")
    state = yard.ledger().state(batch_id)
    assert state.status == "failed"
    assert state.is_delivered


class Killed(BaseException):
    """The process dies here."""


class Deadly(MemoryStorage):
    """A storage that kills the writing process after a number of writes."""

    left = 0

    def put(self, key, data):
        self.left -= 1
        if self.left < 0:
            raise Killed
        super().put(key, data)


@pytest.mark.parametrize("writes", range(4))
def test_a_delivery_killed_at_any_write_is_completed_by_the_next_one(
    yard, monkeypatch, writes
):
    yard.place = Deadly()
    yard.place.left = writes
    with monkeypatch.context() as patch:
        if writes == 3:  # all files exist, but the receipt does not

            def die(*_):
                raise Killed

            patch.setattr(module, "_record", die)
        with pytest.raises(Killed):
            yard.attempt()
    assert len(stored(yard.place)) == writes
    before = stored(yard.place)
    assert not yard.state.is_delivered
    assert is_due(yard.state, 1_000)
    yard.place.left = 9
    assert yard.attempt().delivery_receipt.error is None
    assert before.items() <= stored(yard.place).items()
    assert len(stored(yard.place)) == 3


@pytest.mark.usefixtures("no_jitter")
def test_failed_deliveries_are_retried_at_growing_intervals(yard):
    yard.error = StorageError("access denied")
    waits, now = [], 0
    for tries in range(1, 12):
        state = yard.attempt(now)
        assert (state.delivery_attempt.tries, state.delivery_attempt.error) == (
            tries,
            "access denied",
        )
        assert state.status == "completed"
        wait = next(s for s in range(10_000) if is_due(state, 1_000 + now + s))
        waits.append(wait)
        now += wait
    assert waits[:4] == [5, 10, 20, 40]
    assert waits[-1] == 600
    yard.error = None
    assert yard.attempt(now).delivery_receipt.error is None


def test_a_delivery_is_given_up_after_a_day(yard):
    yard.error = StorageError("away")
    yard.attempt(DAY - 1)
    state = yard.attempt(DAY + 1)
    assert (state.delivery_receipt.error, state.delivery_receipt.files) == ("away", [])
    assert state.status == "completed"
    assert len(yard.hand.lines(state.final.output_file_id)) == 2


def test_a_forbidden_destination_is_given_up_at_once(yard):
    yard.error = OutputError("not allowed any more")
    assert yard.attempt().delivery_receipt.error == "not allowed any more"


def test_the_delivery_of_deleted_results_is_given_up_at_once(yard):
    Files(yard.ledger()).delete(yard.state.final.output_file_id)
    assert "deleted before it was delivered" in yard.attempt().delivery_receipt.error


def test_a_deleted_parquet_file_is_generated_for_the_export(yard):
    Files(yard.ledger()).delete(yard.state.final.parquet_file_id)
    yard.attempt()
    [table] = [data for key, data in stored(yard.place).items() if "parquet" in key]
    assert parquet.read_table(BytesIO(table)).num_rows == 4


def test_a_bug_is_recorded_without_its_text(yard, caplog):
    yard.error = ValueError("the prompt")
    state = yard.attempt()
    assert "ValueError" in state.delivery_attempt.error
    assert "prompt" not in state.delivery_attempt.error + caplog.text


def test_a_temporarily_missing_object_is_retried(yard, monkeypatch):
    def fail(_key):
        raise ObjectMissingError("gone for a moment")

    monkeypatch.setattr(yard.hand.storage, "stream", fail)
    state = yard.attempt()
    assert state.delivery_receipt is None
    assert state.delivery_attempt.tries == 1
