"""When a batch expires, and how its deadline is moved."""

import json

import pytest

from batchchat.jobs.errors import ConflictError, UsageError
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


@pytest.mark.parametrize(
    ("window", "on_invalid", "newest"),
    [("24h", "fail", 1), ("24h", "skip", 1), ("24h", None, 2), ("none", "fail", 2)],
)
def test_only_what_older_versions_would_misunderstand_has_a_newer_format(
    hand, window, on_invalid, newest
):
    options = {"completion_window": window, "on_invalid": on_invalid}
    stored = hand.storage.get(
        hand.ledger.keys.batch(hand.submit(DATA, **options)).batch
    )
    assert json.loads(stored)["format"] == newest


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
