"""A batch whose results another one reads is known to be in use."""

import pytest

from batchchat.jobs.errors import NotFoundError
from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.deletions import Deletion, read_deletion
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.readers import add_reader, readers_of
from tests.support.ended import Hand, whole

DATA = whole("q", "text") + b"\n"


@pytest.fixture
def hand():
    return Hand()


def test_a_batch_reads_another_until_it_has_ended(hand):
    read = hand.ended(DATA).batch.id
    reader = hand.submit(DATA)
    add_reader(hand.ledger, read, reader)
    assert list(readers_of(hand.ledger, read)) == [reader]
    hand.run(reader)
    hand.finalize(reader)
    assert list(readers_of(hand.ledger, read)) == []


def test_a_batch_that_needs_the_results_for_its_own_reads_always(hand):
    read, reader = (hand.ended(DATA).batch.id for _ in range(2))
    add_reader(hand.ledger, read, reader, always=True)
    assert list(readers_of(hand.ledger, read)) == [reader]


@pytest.mark.parametrize(("seconds", "counts"), [(60, True), (7_200, False)])
def test_a_reader_that_is_not_created_counts_for_an_hour(hand, seconds, counts):
    read = hand.ended(DATA).batch.id
    reader = new_batch_id()
    add_reader(hand.ledger, read, reader)
    created = int(reader.removeprefix("batch_")[:12], 16) / 1_000
    later = Ledger(hand.storage, hand.project, lambda: created + seconds)
    assert list(readers_of(later, read)) == [reader] * counts


def test_a_batch_that_does_not_exist_can_not_be_read(hand):
    missing = new_batch_id()
    with pytest.raises(NotFoundError):
        add_reader(hand.ledger, missing, new_batch_id())
    assert list(hand.storage.list("")) == []


def test_a_batch_that_is_being_deleted_can_not_be_read(hand):
    read = hand.ended(DATA).batch.id
    record = Deletion(created_at=1, input_file_id=None)
    hand.storage.put(hand.ledger.keys.deletion(read), records.encode(record))
    with pytest.raises(NotFoundError, match="no such batch"):
        add_reader(hand.ledger, read, new_batch_id())
    assert list(readers_of(hand.ledger, read)) == []
    assert read_deletion(hand.ledger, read) == record
    assert list(hand.ledger.listing.deleted()) == [read]
    assert list(hand.ledger.listing.deleted(after=read)) == []
