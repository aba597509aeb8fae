"""The end of a large batch of one project delays no batch of another one."""

from threading import Thread

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.state import State
from batchchat.jobs.storage import MemoryStorage
from batchchat.workers.broker.messages import FINALIZE, PLAN, WorkMessage
from batchchat.workers.control.batch_planner import BatchPlanner
from batchchat.workers.control.controller import Controller
from batchchat.workers.control.dispatcher import Dispatcher
from batchchat.workers.control.fair_turns import FairTurns
from tests.support.ended import MODEL, EmptyRegistry, Hand, bare
from tests.support.memory_broker import MemoryQueue, memory_environment
from tests.support.running import SETTINGS
from tests.support.wait import wait_until


class WatchedStorage(MemoryStorage):
    """Calls `before` with the key of each object before it is read."""

    def before(self, key):
        pass

    def get(self, key):
        self.before(key)
        return super().get(key)

    def stream(self, key):
        self.before(key)
        return super().stream(key)


class Office:
    """A controller that can compute for one batch at a time."""

    def __init__(self, tmp_path):
        self.storage = WatchedStorage()
        environment = memory_environment(self.storage, SETTINGS, clock=lambda: 1_000.0)
        registry = EmptyRegistry(Catalog({"m": MODEL}), tmp_path)
        self.planner = BatchPlanner(environment, registry)
        self.turns = self.planner.turns = FairTurns(1, slice_seconds=0.0)
        self.controller = Controller(
            environment,
            self.planner,
            Dispatcher(environment, MemoryQueue()),
            environment.lease_keeper(),
            deliver=lambda _: None,
        )

    def submit(self, project, requests, *, run, **options):
        hand = Hand(self.storage, project=project)
        data = b"".join(bare(f"{n}") + b"\n" for n in range(requests))
        batch_id = hand.submit(data, plan=run, **options)
        ActiveIndex(self.storage).add(project, batch_id)
        if run:
            hand.run(batch_id)
        return batch_id

    def handle(self, project, batch_id, work):
        thread = Thread(
            target=self.controller.handle, args=[WorkMessage(project, batch_id, work)]
        )
        thread.start()
        return thread

    def state(self, project, batch_id):
        return Hand(self.storage, project=project).ledger.state(batch_id)


@pytest.fixture
def office(tmp_path):
    return Office(tmp_path)


@pytest.mark.parametrize("work", [PLAN, FINALIZE])
@pytest.mark.parametrize("output_format", ["jsonl", "parquet"])
def test_a_small_batch_is_planned_and_ended_while_a_large_one_ends(
    office, work, output_format
):
    large = office.submit("greedy", 400, run=True, output_format=output_format)
    small = office.submit("modest", 2, run=work == FINALIZE)
    large_keys = Hand(office.storage, project="greedy").ledger.keys.batch(large)
    begun: list[Thread] = []
    seen: list[State] = []

    def before(key):
        if not key.startswith(large_keys.shards):
            return
        if not begun:
            begun.append(office.handle("modest", small, work))
            wait_until(lambda: office.turns._waiting)
            return
        begun[0].join(0.02)  # it takes its turns between those of the large one
        if not seen and not begun[0].is_alive():
            seen.append(office.state("modest", small))

    office.storage.before = before
    office.handle("greedy", large, FINALIZE).join(60)
    begun[0].join(60)
    assert office.state("greedy", large).status == "completed"
    [state] = seen
    assert state.final if work == FINALIZE else state.plan


def test_an_error_while_a_batch_ends_gives_its_turn_back(office):
    batch_id = office.submit("greedy", 4, run=True)

    def fail(_key):
        raise ZeroDivisionError

    office.storage.before = fail
    office.handle("greedy", batch_id, FINALIZE).join(60)
    del office.storage.before
    office.handle("greedy", batch_id, FINALIZE).join(60)
    assert office.state("greedy", batch_id).status == "completed"
