"""A lease is held once, and renewed while there is progress."""

import pytest

from batchchat.workers.broker.lease_keeper import LeaseKeeper
from tests.support.memory_broker import MemoryLeases


class Desk:
    """A keeper, its leases, and its clock."""

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


def test_a_second_block_has_it_not_though_redis_was_emptied(desk):
    with desk.holding() as first:
        desk.leases.forget()
        with desk.holding() as second:
            assert (first, second) == (True, False)
        desk.now = 5
        desk.keeper.tick()
        assert desk.leases.all == {"shard": "me"}
    assert desk.leases.all == {}


def test_it_can_be_held_again(desk):
    for _ in range(2):
        with desk.holding() as held:
            assert held


def test_what_somebody_else_has_is_not_held_and_not_released(desk):
    desk.leases.all["shard"] = "other"
    with desk.holding() as held:
        assert not held
    assert desk.leases.all == {"shard": "other"}


def test_whoever_lost_it_is_told(desk):
    with desk.holding():
        desk.leases.all["shard"] = "other"
        desk.now = 5
        desk.keeper.tick()
    assert desk.lost == [5]


def test_without_progress_it_is_not_renewed(desk):
    with desk.holding():
        desk.keeper.tick()
        desk.leases.forget()
        desk.now = 61
        desk.keeper.tick()
        assert desk.leases.all == {}


def test_what_was_frozen_for_longer_than_a_lease_has_lost_it(desk):
    with desk.holding():
        desk.keeper.tick()
        desk.leases.forget()
        desk.now = 20
        desk.keeper.tick()
        assert desk.lost == [20]
        assert desk.leases.all == {}
