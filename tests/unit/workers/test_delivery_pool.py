"""The delivery pool: a few threads, one per batch, allowed destinations only."""

from collections import Counter
from threading import Event

import pytest

from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.settings import Settings
from batchchat.workers.broker.messages import DELIVER, WorkMessage
from batchchat.workers.control import delivery_pool as module
from batchchat.workers.control.delivery_pool import DeliveryPool
from tests.support.ended import Hand, bare
from tests.support.memory_broker import MemoryLeases, memory_environment
from tests.support.wait import wait_until

PATIENCE = 20.0


class Depot:
    """A delivery pool that may write below a folder, and ended batches."""

    def __init__(self, folder):
        self.folder = folder
        self.hand = Hand()
        self.leases = MemoryLeases()
        environment = memory_environment(
            self.hand.storage,
            Settings(storage="", output_prefixes=(f"{folder}/{{project}}",)),
            leases=self.leases,
            clock=lambda: 1_000.0,
        )
        self.deliveries = DeliveryPool(environment, environment.lease_keeper())

    def ended(self, place="default/x", project="default"):
        """Return the message to deliver a new batch to a place."""
        destination = f"{self.folder}/{place}"
        hand = Hand(self.hand.storage, project=project)
        state = hand.ended(bare("x"), destination=destination)
        return WorkMessage(project, state.batch.id, DELIVER)

    def state(self, message):
        return Ledger(self.hand.storage, "default").state(message.batch_id)


@pytest.fixture
def depot(tmp_path):
    return Depot(tmp_path)


def test_results_are_written_to_the_destination(depot, tmp_path):
    message = depot.ended()
    depot.deliveries.start(message)
    wait_until(lambda: depot.state(message).is_delivered)
    [file] = (tmp_path / "default" / "x").iterdir()
    assert depot.state(message).delivery_receipt.files == [file.as_uri()]


def test_a_destination_that_is_no_longer_allowed_gets_nothing(depot, tmp_path):
    message = depot.ended("other/x")
    depot.deliveries.start(message)
    wait_until(lambda: depot.state(message).is_delivered)
    assert "BATCHCHAT_OUTPUT_PREFIXES" in depot.state(message).delivery_receipt.error
    assert list(tmp_path.iterdir()) == []


def test_a_delivery_of_another_process_is_not_repeated(depot):
    message = depot.ended()
    depot.leases.all[message.name] = "another"
    depot.deliveries.start(message)
    wait_until(lambda: not depot.deliveries._active)
    assert not depot.state(message).is_delivered


def test_slow_destinations_delay_only_deliveries(depot, monkeypatch):
    go_on, begun = Event(), []

    def slow(_ledger, state, _open):
        begun.append(state.batch.id)
        go_on.wait(PATIENCE)

    monkeypatch.setattr(module, "attempt_delivery", slow)
    messages = [depot.ended() for _ in range(6)]
    for message in [*messages, *messages]:
        depot.deliveries.start(message)  # returns at once
    wait_until(lambda: len(begun) == 4)
    go_on.set()
    wait_until(lambda: not depot.deliveries._active)
    for message in messages[4:]:
        depot.deliveries.start(message)
    wait_until(lambda: len(begun) == 6)
    assert sorted(begun) == sorted(message.batch_id for message in messages)


def test_slow_destinations_delay_no_delivery_of_another_project(depot, monkeypatch):
    go_on, begun = Event(), []

    def slow(ledger, _state, _open):
        begun.append(ledger.project)
        go_on.wait(PATIENCE)

    monkeypatch.setattr(module, "attempt_delivery", slow)
    messages = [depot.ended() for _ in range(6)]
    messages += [depot.ended(project=name) for name in ("other", "other", "third")]
    for message in messages:
        depot.deliveries.start(message)
    wait_until(lambda: len(begun) == 7)
    go_on.set()
    wait_until(lambda: not depot.deliveries._active)
    assert Counter(begun) == {"default": 4, "other": 2, "third": 1}
