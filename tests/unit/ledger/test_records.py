"""Records are read exactly as they were written, or are corrupt."""

from decimal import Decimal

import msgspec
import pytest
from msgspec.structs import replace

from batchchat.jobs.errors import CorruptObjectError, NotFoundError
from batchchat.jobs.ids import new_file_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.keys import shards_of_commits
from batchchat.jobs.ledger.records import (
    Batch,
    Commit,
    Counts,
    File,
    Outcome,
    Part,
    Plan,
    Shard,
)
from batchchat.jobs.requests.problems import Problem
from tests.support.batch_records import BATCH, OUTCOME, commit, new_ledger, plan

FILE = File(id=new_file_id(), bytes=1, created_at=2, filename="a", purpose="batch")
RECORDS = [
    BATCH,
    replace(BATCH, metadata={"a": "b"}, model="m", retry_of=BATCH.id),
    plan(),
    replace(
        plan(0), model=None, problems=[Problem("c", None, "m"), Problem("c", 1, "é")]
    ),
    replace(plan(1), shards=[Shard(0, 0, 9, 1, 3, 2, duplicate_lines=(2, 3))]),
    replace(commit(0), parts=[Part("k", 3, "0" * 64)], engines={"a": {"b": [1]}}),
    replace(OUTCOME, estimated_cost=Decimal("12345678901234.00000012345")),
    FILE,
]


@pytest.fixture
def ledger():
    return new_ledger()


@pytest.mark.parametrize("value", RECORDS, ids=lambda value: type(value).__name__)
def test_a_record_comes_back_as_it_was_written(value):
    assert records.decode(type(value), records.encode(value), "key") == value


@pytest.mark.parametrize("kind", [Batch, Plan, Commit, Outcome, File])
@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b"null", b'{"id": "\xff"}']
)
def test_a_corrupt_record_is_an_error_with_its_key(kind, data):
    with pytest.raises(CorruptObjectError, match="the/key"):
        records.decode(kind, data, "the/key")


def test_a_truncated_record_is_always_corrupt():
    data = records.encode(commit(0))
    for end in range(len(data)):
        with pytest.raises(CorruptObjectError):
            records.decode(Commit, data[:end], "key")


def test_unknown_fields_of_a_record_are_ignored():
    data = records.encode(BATCH)[:-1] + b', "invented": {"later": 1}}'
    assert records.decode(Batch, data, "key") == BATCH


def test_counts_add_up_field_by_field():
    assert Counts(3, 2, 1) + Counts(30, 20, 10) == Counts(33, 22, 11)
    assert Counts(3, 2, 1).done() == (2, 1)


def test_a_plan_with_shards_needs_a_model():
    with pytest.raises(CorruptObjectError):
        replace(plan(), model=None).require_model()


@pytest.mark.parametrize(("shards", "tail"), [(1, 0), (7, 6), (16, 14), (1_000, 875)])
def test_the_tail_is_an_eighth_of_the_shards_and_at_least_one(shards, tail):
    assert replace(plan(), shards=plan().shards[:1] * shards).first_tail_shard == tail


def test_batches_are_listed_newest_first(ledger):
    ids = [f"batch_{number:032x}" for number in (3, 1, 2)]
    for batch_id in ids:
        batch = replace(BATCH, id=batch_id)
        ledger.storage.put(ledger.keys.batch(batch_id).batch, records.encode(batch))
    listed = [batch.id for batch in ledger.batches()]
    assert listed == [BATCH.id, *sorted(ids, reverse=True)]


def test_a_batch_that_was_never_created_is_not_listed(ledger):
    ledger.storage.put(
        ledger.keys.batch(f"batch_{9:032x}").plan, records.encode(plan())
    )
    assert list(ledger.batches()) == [BATCH]


def test_an_unknown_file_is_not_found(ledger):
    ledger.storage.put(ledger.keys.file(FILE.id), records.encode(FILE))
    assert ledger.file(FILE.id) == FILE
    with pytest.raises(NotFoundError):
        ledger.file(new_file_id())


def test_a_truncated_commit_does_not_count_and_is_reported_as_corrupt(ledger):
    keys = ledger.keys.batch(BATCH.id)
    ledger.storage.put(keys.commit(0), records.encode(commit(0))[:-5])
    state = ledger.state(BATCH.id)
    assert (state.counts(), state.corrupt) == (Counts(), {keys.commit(0): Commit})
    with pytest.raises(CorruptObjectError, match=keys.commit(0)):
        ledger.commit(keys, 0)


def test_a_commit_is_read_once_and_a_missing_one_is_read_again(ledger):
    keys = ledger.keys.batch(BATCH.id)
    assert ledger.commit(keys, 0) is None
    ledger.storage.put(keys.commit(0), records.encode(commit(0)))
    assert ledger.commit(keys, 0) is ledger.commit(keys, 0) is not None


def test_now_is_whole_seconds_of_the_ledger_s_clock(ledger):
    assert ledger.now() == 12


def test_a_cost_is_a_number_in_json():
    data = msgspec.json.decode(records.encode(OUTCOME))
    assert data["estimated_cost"] == 0.5


@pytest.mark.parametrize("shard", [0, 7, 99_999, 123_456])
def test_a_commit_s_key_names_its_shard(ledger, shard):
    assert shards_of_commits([ledger.keys.batch(BATCH.id).commit(shard)]) == {shard}
