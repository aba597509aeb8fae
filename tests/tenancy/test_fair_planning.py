"""Large files of one project do not keep those of other projects from being checked."""

from threading import Event, Thread

import pytest

from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.workers.broker.messages import CONTROL
from batchchat.workers.control.dispatcher import Dispatcher
from batchchat.workers.control.fair_turns import (
    PIECE_BYTES,
    FairPlaces,
    FairTurns,
    paused,
)
from tests.support.ended import Hand, bare
from tests.support.memory_broker import (
    MemoryLeases,
    MemoryQueue,
    MemoryStatusBoard,
    memory_environment,
)
from tests.support.running import SETTINGS
from tests.support.wait import wait_until


class Planners:
    """Planners that each check one endless file, and note whose piece they check."""

    def __init__(self, turns=1, slice_seconds=0.0):
        self.turns = FairTurns(turns, slice_seconds)
        self.pieces = []
        self.stopped = Event()
        self._threads = []

    def plan(self, project, pieces=None):
        """Check a file, of that many pieces or without an end."""

        def check():
            with self.turns.taking(project) as pause:
                number = 0
                while number != pieces and not self.stopped.is_set():
                    pause()
                    self.pieces.append(project)
                    number += 1

        self._threads.append(Thread(target=check))
        self._threads[-1].start()
        return self._threads[-1]

    def close(self):
        self.stopped.set()
        for thread in self._threads:
            thread.join(30)


def test_a_small_file_is_checked_while_endless_ones_of_another_project_are():
    planners = Planners()
    for _ in range(4):
        planners.plan("greedy")
    wait_until(lambda: planners.pieces)
    try:
        planners.plan("modest", pieces=3).join(30)
        assert planners.pieces.count("modest") == 3
    finally:
        planners.close()


def test_projects_take_turns_whatever_number_of_files_they_have():
    planners = Planners()
    for _ in range(4):
        planners.plan("greedy")
    wait_until(lambda: planners.pieces)
    modest = [planners.plan("modest", pieces=100)]
    try:
        modest[0].join(30)
        first = planners.pieces.index("modest")
        last = len(planners.pieces) - planners.pieces[::-1].index("modest")
        assert planners.pieces[first:last].count("greedy") <= 101
    finally:
        planners.close()


def test_a_file_is_checked_in_one_go_while_no_other_waits():
    planners = Planners(slice_seconds=3_600.0)
    planners.plan("one", pieces=50).join(30)
    assert planners.pieces == ["one"] * 50
    planners.close()


def test_every_turn_is_given_back_even_after_an_error():
    turns = FairTurns(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), turns.taking("p"):
            1 / 0  # noqa: B018
    with turns.taking("p") as pause:
        pause()


def test_an_input_pauses_within_a_long_chunk():
    data = bytes(range(256)) * 4096 * 2
    pauses = []
    pieces = list(paused([data, b"end"], lambda: pauses.append(1)))
    assert b"".join(pieces) == data + b"end"
    assert max(map(len, pieces)) == PIECE_BYTES
    assert len(pauses) == len(pieces)


def test_each_project_gets_half_of_the_places_that_others_leave():
    places = FairPlaces(16, patience=0)
    entered = []

    def take(project):
        place = places.taken(project)
        if place.__enter__():
            entered.append((project, place))
            return True
        place.__exit__(None, None, None)
        return False

    assert [take("one") for _ in range(20)].count(True) == 8
    assert [take("two") for _ in range(20)].count(True) == 4
    assert take("three")
    assert take("four")
    for _, place in entered:
        place.__exit__(None, None, None)
    assert [take("two") for _ in range(20)].count(True) == 8


def test_short_work_waits_for_a_place():
    places = FairPlaces(2, patience=60)
    done = []

    def work():
        with places.taken("one") as is_taken:
            done.append(is_taken)

    threads = [Thread(target=work) for _ in range(20)]
    with places.taken("one"):
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(30)
    assert done == [True] * 20


def test_a_thousand_new_batches_do_not_fill_the_queue_of_the_controllers():
    queue, leases, storage = MemoryQueue(), MemoryLeases(), Hand().storage
    leases.detect_flush()
    environment = memory_environment(
        storage,
        SETTINGS,
        leases=leases,
        status_board=MemoryStatusBoard(),
        clock=lambda: 1_000.0,
    )
    dispatcher = Dispatcher(environment, queue)

    def submit(project):
        hand = Hand(storage=storage, project=project)
        ActiveIndex(storage).add(project, hand.submit(bare("hi") + b"\n", plan=False))

    for _ in range(100):
        submit("greedy")
    dispatcher.sweep()
    submit("modest")
    dispatcher.sweep()
    projects = [message.project for message in queue.queues[CONTROL]]
    assert projects == ["greedy"] * 64 + ["modest"]
    while queue.queues[CONTROL]:  # what controllers plan counts, too
        leases.acquire(queue.take(CONTROL).name)
    dispatcher.sweep()
    assert queue.queues[CONTROL] == []
