"""The controller ends batches that cannot be planned."""

from pathlib import Path

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import ConfigError
from batchchat.jobs.ledger.submission import cancel_batch
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.storage.paced import PacedStorage
from batchchat.workers.broker.messages import FINALIZE, PLAN, WorkMessage
from batchchat.workers.control import batch_planner
from batchchat.workers.control.batch_planner import BatchPlanner
from batchchat.workers.control.controller import Controller
from batchchat.workers.control.dispatcher import Dispatcher
from tests.support.ended import MODEL, Hand, bare
from tests.support.memory_broker import MemoryQueue, memory_environment
from tests.support.running import SETTINGS


class BrokenRegistry(RendererRegistry):
    """Raises an error instead of loading a model's files."""

    def __init__(self, error):
        super().__init__(Catalog({"m": MODEL}), Path())
        self._error = error

    def get(self, _name):
        raise self._error


@pytest.fixture
def hand():
    return Hand()


def do(hand, error, batch_id, *asked):
    """Let a controller handle messages; return the batch's state."""
    environment = memory_environment(hand.storage, SETTINGS, clock=lambda: 1_000.0)
    controller = Controller(
        environment,
        BatchPlanner(environment, BrokenRegistry(error)),
        Dispatcher(environment, MemoryQueue()),
        environment.lease_keeper(),
        deliver=lambda _: None,
    )
    for work in asked:
        controller.handle(WorkMessage("default", batch_id, work))
    return hand.ledger.state(batch_id)


@pytest.mark.parametrize("interval", [0.004, 2.0, 600.0])
def test_an_announcement_starts_the_next_sweep(hand, monkeypatch, interval):
    announced = iter([False, False, True])
    pauses: list[float] = []
    settings = SETTINGS.model_copy(update={"controller_interval_seconds": interval})
    environment = memory_environment(hand.storage, settings, clock=lambda: 1_000.0)
    controller = Controller(
        environment,
        BatchPlanner(environment, BrokenRegistry(RuntimeError())),
        Dispatcher(environment, MemoryQueue()),
        environment.lease_keeper(),
        deliver=lambda _: None,
        is_announced=lambda: next(announced),
    )
    monkeypatch.setattr(controller._wake, "wait", pauses.append)
    controller._wait()
    assert len(pauses) == 3
    assert max(pauses) <= 0.5


def test_a_batch_fails_if_its_model_has_no_chat_template(hand):
    batch_id = hand.submit(bare("hi") + b"\n", plan=False)
    error = ConfigError("model `m` has no chat template", hint="set `chat_template`")
    state = do(hand, error, batch_id, PLAN)
    assert state.status == "failed"
    [problem] = state.require_plan().problems
    assert problem.code == "model_not_usable"
    assert problem.message == "model `m` has no chat template: set `chat_template`"


@pytest.mark.parametrize("error", [ConfigError("no template"), RuntimeError("a bug")])
def test_a_batch_that_cannot_be_planned_can_be_cancelled(hand, error):
    batch_id = hand.submit(bare("hi") + b"\n", plan=False)
    cancel_batch(hand.ledger, batch_id)
    assert do(hand, error, batch_id, PLAN, FINALIZE).is_terminal


def test_a_plan_that_another_controller_makes_meanwhile_counts(hand):
    batch_id = hand.submit(bare("hi") + b"\n", plan=False)
    cancel_batch(hand.ledger, batch_id)

    class SlowError(RuntimeError):
        def __init__(self):
            super().__init__("a bug")
            hand.make_plan(batch_id)

    state = do(hand, SlowError, batch_id, FINALIZE)
    assert (state.status, state.counts().total) == ("cancelled", 1)
    assert state.final.error_file_id is not None


def test_answers_are_indexed_in_turns_with_other_work(hand, monkeypatch):
    used = []
    monkeypatch.setattr(
        batch_planner, "store_index", lambda ledger, *_: used.append(ledger.storage)
    )
    batch_id = hand.submit(bare("hi") + b"\n")
    hand.run(batch_id)
    assert do(hand, RuntimeError(), batch_id, FINALIZE).is_terminal
    assert [type(storage) for storage in used] == [PacedStorage]


def test_batches_are_planned_in_turns_with_other_work(hand, monkeypatch):
    used = []

    def noted(ledger, *_, **__):
        used.append(ledger.storage)
        raise ConfigError("none")

    monkeypatch.setattr(batch_planner, "make_plan", noted)
    batch_id = hand.submit(bare("hi") + b"\n", plan=False)
    do(hand, RuntimeError(), batch_id, PLAN)
    assert [type(storage) for storage in used] == [PacedStorage]
