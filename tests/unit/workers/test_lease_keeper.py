"""A lease is held once, and renewed while its work progresses."""

import pytest

from batchchat.workers.broker.lease_keeper import LeaseKeeper
from tests.support.memory_broker import MemoryLeases


class Desk:
    """A lease keeper, its leases and its clock."""

    def __init__(self):
        self.leases = MemoryLeases()
        self.now = 0.0
        self.moves = 0
        self.lost = []
        self.keeper = LeaseKeeper(
            self.leases, lease_seconds=9, stall_seconds=60, clock=lambda: self.now
        )

    def holding(self):
        return self.keeper.hold(
            "shard", lambda: self.moves, lambda: self.lost.append(self.now)
        )


@pytest.fixture
def desk():
    return Desk()


def test_a_second_block_does_not_get_the_lease_even_after_a_flush(desk):
    with desk.holding() as first:
        desk.leases.forget()
        with desk.holding() as second:
            assert (first, second) == (True, False)
        desk.now = 5
        desk.keeper.tick()
        assert desk.leases.all == {"shard": "me"}
    assert desk.leases.all == {}


def test_a_released_lease_can_be_held_again(desk):
    for _ in range(2):
        with desk.holding() as held:
            assert held


def test_a_lease_of_another_owner_is_neither_held_nor_released(desk):
    desk.leases.all["shard"] = "other"
    with desk.holding() as held:
        assert not held
    assert desk.leases.all == {"shard": "other"}


def test_the_holder_is_notified_of_a_lost_lease(desk):
    with desk.holding():
        desk.leases.all["shard"] = "other"
        desk.now = 5
        desk.keeper.tick()
    assert desk.lost == [5]


def test_a_lease_without_progress_is_not_renewed(desk):
    with desk.holding():
        desk.keeper.tick()
        desk.leases.forget()
        desk.now = 61
        desk.keeper.tick()
        assert desk.leases.all == {}


def test_a_process_suspended_for_longer_than_a_lease_has_lost_it(desk):
    with desk.holding():
        desk.keeper.tick()
        desk.leases.forget()
        desk.now = 20
        desk.keeper.tick()
        assert desk.lost == [20]
        assert desk.leases.all == {}
