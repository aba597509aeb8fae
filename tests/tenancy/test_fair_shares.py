"""No project can keep the others waiting, whatever priority its batches have."""

from collections import Counter

import pytest

from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.project_rules import ProjectRules
from batchchat.workers.broker.messages import WorkMessage, queue_name
from batchchat.workers.control.dispatcher import Dispatcher
from tests.support.ended import MODEL, Hand, bare
from tests.support.memory_broker import (
    MemoryLeases,
    MemoryQueue,
    MemoryStatusBoard,
    memory_environment,
)
from tests.support.running import SETTINGS

QUEUE = queue_name(MODEL)


class Bureau:
    """A dispatcher, and workers that take shards and finish none."""

    def __init__(self, **projects):
        self.queue, self.leases = MemoryQueue(), MemoryLeases()
        self.storage = Hand().storage
        self.leases.detect_flush()
        self.dispatcher = Dispatcher(
            memory_environment(
                self.storage,
                SETTINGS.model_copy(update={"projects": projects}),
                leases=self.leases,
                status_board=MemoryStatusBoard(),
                clock=lambda: 1_000.0,
            ),
            self.queue,
        )

    def submit(self, project, shards=40, **options):
        hand = Hand(storage=self.storage, project=project)
        lines = b"".join(bare(f"{n}") + b"\n" for n in range(2 * shards))
        batch_id = hand.submit(lines, **options)
        ActiveIndex(self.storage).add(project, batch_id)
        return batch_id

    def taken(self, shards):
        """Let workers take shards; return the messages in their order."""
        messages: list[WorkMessage] = []
        while len(messages) < shards:
            self.dispatcher.sweep()
            message = self.queue.take(QUEUE)
            self.leases.acquire(message.name)
            messages.append(message)
        return messages


def projects(messages):
    return Counter(message.project for message in messages)


def test_high_priority_of_one_project_does_not_delay_another():
    bureau = Bureau()
    for _ in range(3):
        bureau.submit("greedy", priority="high")
    bureau.submit("modest", priority="low")
    assert projects(bureau.taken(20)) == {"greedy": 10, "modest": 10}


def test_priority_orders_the_batches_of_a_project():
    bureau = Bureau()
    low, normal, high = (
        bureau.submit("one", shards=4, priority=priority)
        for priority in ("low", "normal", "high")
    )
    order = [message.batch_id for message in bureau.taken(12)]
    assert order == [high] * 4 + [normal] * 4 + [low] * 4


def test_projects_run_shards_in_proportion_to_their_shares():
    bureau = Bureau(paying=ProjectRules(share=3))
    bureau.submit("free")
    bureau.submit("paying")
    assert projects(bureau.taken(20)) == {"paying": 15, "free": 5}


def test_many_batches_of_a_project_have_one_share():
    bureau = Bureau()
    for _ in range(6):
        bureau.submit("many", shards=10)
    bureau.submit("single")
    assert projects(bureau.taken(20)) == {"many": 10, "single": 10}


def test_a_project_alone_uses_everything():
    bureau = Bureau(small=ProjectRules(share=0.01))
    bureau.submit("small")
    assert projects(bureau.taken(20)) == {"small": 20}


@pytest.mark.parametrize("ceiling", ["low", "normal"])
def test_a_batch_has_no_more_priority_than_its_project(ceiling):
    bureau = Bureau(one=ProjectRules(max_priority=ceiling))
    first = bureau.submit("one", shards=5, priority=ceiling)
    bureau.submit("one", shards=5, priority="high")
    assert {message.batch_id for message in bureau.taken(5)} == {first}
