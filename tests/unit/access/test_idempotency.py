"""Which requests are remembered, and for how long."""

import pytest

from batchchat.jobs.access.idempotency import KEY_SECONDS, remove_expired, reserve
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.storage import MemoryStorage
from tests.support.clock import Clock

PASS = range(0, 16 * 600, 600)
"""Times at which each sixteenth of the records is checked once."""


@pytest.fixture
def clock():
    return Clock(1_000_000)


@pytest.fixture
def ledger(clock):
    return Ledger(MemoryStorage(), "p", clock)


def remembered(ledger):
    return len(list(ledger.storage.list("projects/p/idempotency/")))


def test_records_older_than_a_day_are_removed_within_hours(ledger, clock):
    for number in range(40):
        reserve(ledger, b"%d" % number, key=f"{number}", seconds=0)
        reserve(ledger, b"%d" % number, key=None, seconds=10)
    assert remembered(ledger) == 80
    began = clock.now
    for seconds in PASS:
        clock.now = began + KEY_SECONDS - 16 * 600 + seconds
        remove_expired(ledger)
    assert remembered(ledger) == 80
    left = []
    for seconds in PASS:
        clock.now = began + KEY_SECONDS + 1 + seconds
        remove_expired(ledger)
        left.append(remembered(ledger))
    assert left[0] > 0  # not all are read at once
    assert left[-1] == 0


def test_a_key_reused_after_a_day_is_remembered_again(ledger, clock):
    reserve(ledger, b"x", key="mine", seconds=0)
    clock.now += KEY_SECONDS + 1
    again = reserve(ledger, b"x", key="mine", seconds=0)
    for seconds in PASS:
        clock.now += seconds and 600
        remove_expired(ledger)
    assert reserve(ledger, b"x", key="mine", seconds=0).batch_id == again.batch_id
