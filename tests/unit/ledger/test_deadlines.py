"""When a batch expires, and how its deadline is moved."""

import pytest

from batchchat.jobs.errors import ConflictError, NewerFormatError, UsageError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.ledger.resolution import final_status
from batchchat.jobs.ledger.submission import extend_batch
from tests.support.ended import Hand, whole

DATA = whole("q", "text") + b"\n"
CREATED = 1_000
DAY = 86_400
FOREVER = 10**12


@pytest.fixture
def hand():
    return Hand()


def expires(hand, batch_id, now):
    ledger = hand.ledger
    ledger.clock = lambda: float(now)
    return final_status(ledger.state(batch_id), now) == "expired"


def test_a_batch_expires_at_the_end_of_its_window(hand):
    batch_id = hand.submit(DATA, completion_window="24h")
    assert not expires(hand, batch_id, CREATED + DAY - 1)
    assert expires(hand, batch_id, CREATED + DAY)


def test_a_batch_without_a_deadline_never_expires(hand):
    batch_id = hand.submit(DATA, completion_window="none")
    assert not expires(hand, batch_id, FOREVER)
    shown = batch_object(hand.ledger.state(batch_id))
    assert (shown.completion_window, shown.expires_at) == ("none", None)


def test_only_batches_without_a_deadline_need_a_newer_reader(hand):
    ids = [hand.submit(DATA, completion_window=it) for it in ("24h", "none")]
    formats = [
        records.decode(records.Record, hand.storage.get(key), key).format
        if window == "24h"
        else None
        for window, key in zip(
            ("24h", "none"),
            (hand.ledger.keys.batch(batch_id).batch for batch_id in ids),
            strict=True,
        )
    ]
    assert formats == [1, None]
    key = hand.ledger.keys.batch(ids[1]).batch
    with pytest.raises(NewerFormatError):
        records.decode(records.Record, hand.storage.get(key), key)


@pytest.mark.parametrize(("window", "seconds"), [("2d", 2 * DAY), ("none", FOREVER)])
def test_an_extension_replaces_the_deadline(hand, window, seconds):
    batch_id = hand.submit(DATA, completion_window="24h")
    extend_batch(hand.ledger, batch_id, window)
    assert not expires(hand, batch_id, CREATED + seconds - 1)
    assert expires(hand, batch_id, CREATED + seconds) == (window != "none")


def test_an_unreadable_extension_counts_as_none(hand):
    batch_id = hand.submit(DATA, completion_window="24h")
    hand.storage.put(hand.ledger.keys.batch(batch_id).extension, b"{")
    assert expires(hand, batch_id, CREATED + DAY)


def test_an_ended_batch_is_not_extended(hand):
    state = hand.ended(DATA)
    with pytest.raises(ConflictError, match="completed"):
        extend_batch(hand.ledger, state.batch.id, "24h")


def test_an_extension_has_the_limits_of_a_completion_window(hand):
    with pytest.raises(UsageError):
        extend_batch(hand.ledger, hand.submit(DATA), "5s")
