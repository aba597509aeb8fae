"""The index of an ended batch finds each completed request, and is made again."""

from random import Random

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import CorruptObjectError, NewerFormatError
from batchchat.jobs.ledger.deletions import Deletion
from batchchat.jobs.ledger.records import encode
from batchchat.jobs.reuse.answer_index import AnswerIndex, IndexBuilder, Place
from batchchat.jobs.reuse.index_building import open_index, store_index
from batchchat.jobs.reuse.spooled_records import SpooledRecords
from batchchat.jobs.storage import MemoryStorage
from tests.support.ended import MODEL, EmptyRegistry, Hand, echo, whole

KEY = "projects/default/batches/b/answer_index"
DATA = b"".join(whole(f"q-{n}", f"text {n}") + b"\n" for n in range(9))


@pytest.fixture
def renderers(tmp_path):
    return EmptyRegistry(Catalog({"m": MODEL}), tmp_path)


def stored(places):
    storage, builder = MemoryStorage(), IndexBuilder()
    for digest, place in places.items():
        builder.add(digest, place)
    builder.store(storage, KEY)
    builder.close()
    return storage


def all_of(index):
    return {
        digest: place for bucket in index.buckets() for digest, place in bucket.items()
    }


@pytest.mark.parametrize("count", [0, 1, 3_000])
def test_an_index_has_what_was_added(count):
    source = Random(1)
    places = {source.randbytes(16): Place(n, n + 1, n + 2) for n in range(count)}
    index = AnswerIndex(stored(places), KEY)
    assert all_of(index) == places


def test_records_beyond_the_memory_are_sorted_too():
    source, records = Random(2), SpooledRecords(100, 4)
    added = [source.randbytes(100) for _ in range(30_000)]
    for record in added:
        records.add(record[0] >> 6, record)
    assert [one for bucket in records for one in bucket] == sorted(added)
    assert records.count == len(added)
    records.close()


@pytest.mark.parametrize("at", [0.1, 0.5, 0.999])
@pytest.mark.parametrize("change", ["cut", "flip"])
def test_a_damaged_index_is_noticed(at, change):
    source = Random(3)
    places = {source.randbytes(16): Place(n, n, n) for n in range(500)}
    storage = stored(places)
    data = bytearray(storage.get(KEY))
    place = int(at * len(data))
    if change == "cut":
        del data[place:]
    else:
        data[place] ^= 1
    storage.put(KEY, bytes(data))
    try:
        found = all_of(AnswerIndex(storage, KEY))
    except CorruptObjectError:
        return
    assert found == places  # a digit of the header that is not used


def test_an_index_of_a_newer_version_is_left_alone():
    storage = stored({})
    data = storage.get(KEY).replace(b'"format":1', b'"format":9')
    storage.put(KEY, data)
    with pytest.raises(NewerFormatError):
        AnswerIndex(storage, KEY)


def test_completed_requests_are_in_the_index_and_failed_ones_are_not(renderers):
    hand = Hand()

    def answer(request):
        return None if request.line % 3 == 0 else echo(request)

    state = hand.ended(DATA, answer)
    index = open_index(hand.ledger, state, renderers)
    assert len(index) == 6
    assert state.final
    output = hand.file(state.final.output_file_id)
    lines = {
        output[place.offset : place.offset + place.length]
        for place in all_of(index).values()
    }
    assert lines == {*output.splitlines()}


def test_an_index_is_the_same_each_time_it_is_made(renderers):
    hand = Hand()
    state = hand.ended(DATA)
    key = hand.ledger.keys.batch(state.batch.id).answer_index
    store_index(hand.ledger, state, renderers)
    first = hand.storage.get(key)
    store_index(hand.ledger, state, renderers)
    assert hand.storage.get(key) == first


def test_a_batch_that_is_being_deleted_keeps_no_index(renderers):
    hand = Hand()
    state = hand.ended(DATA)
    record = Deletion(created_at=1, input_file_id=None)
    hand.storage.put(hand.ledger.keys.deletion(state.batch.id), encode(record))
    store_index(hand.ledger, state, renderers)
    key = hand.ledger.keys.batch(state.batch.id).answer_index
    assert not list(hand.storage.list(key))


def test_a_missing_index_is_made_when_it_is_needed(renderers):
    hand = Hand()
    state = hand.ended(DATA)
    key = hand.ledger.keys.batch(state.batch.id).answer_index
    assert not list(hand.storage.list(key))
    assert len(open_index(hand.ledger, state, renderers)) == 9
    assert list(hand.storage.list(key))
