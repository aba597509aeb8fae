"""A controller that may not use the storage says so, and ends if it never could."""

import logging
from typing import Any

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import StorageAccessError, StorageError
from batchchat.workers.control.batch_planner import BatchPlanner
from batchchat.workers.control.controller import Controller
from batchchat.workers.control.dispatcher import Dispatcher
from tests.support.ended import Hand
from tests.support.memory_broker import MemoryQueue, memory_environment
from tests.support.running import ECHO, SETTINGS, EchoRegistry

DENIED = StorageAccessError("the keys have expired", hint="renew them")
OUTAGE = StorageError("no answer")


class Index:
    """An index of active batches whose reads have the given results."""

    def __init__(self, results):
        self.results = iter(results)
        self.controller: Any = None

    def entries(self):
        found = next(self.results, None)
        if found is None:
            self.controller.stop()
        if isinstance(found, Exception):
            raise found
        return iter(())

    def remove(self, project, batch_id):
        raise AssertionError((project, batch_id))


def sweep(tmp_path, *results):
    """Sweep with these results; return the status at each call of `on_denied`."""
    settings = SETTINGS.model_copy(update={"controller_interval_seconds": 0.004})
    environment = memory_environment(Hand().storage, settings)
    index = Index([*results, None])
    registry = EchoRegistry(Catalog({"echo": ECHO}), tmp_path)
    index.controller = controller = Controller(
        environment,
        BatchPlanner(environment, registry),
        Dispatcher(environment, MemoryQueue(), index),
        environment.lease_keeper(),
        deliver=lambda _: None,
    )
    denials = []
    controller.run_sweeps(on_denied=lambda: denials.append(controller._status))
    return denials


@pytest.mark.parametrize("before", [[], [OUTAGE]])
def test_a_controller_that_never_had_access_ends(tmp_path, before):
    [status] = sweep(tmp_path, *before, DENIED)
    assert status.storage_problem == "the keys have expired; renew them"


@pytest.mark.parametrize("results", [["ok", DENIED, DENIED], [OUTAGE], ["ok", OUTAGE]])
def test_a_controller_that_had_access_or_knows_of_none_continues(tmp_path, results):
    assert sweep(tmp_path, *results) == []


def test_a_denied_access_is_logged_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        sweep(tmp_path, "ok", *[DENIED] * 5, "ok", *[DENIED] * 5)
    said = [record.message for record in caplog.records]
    assert said == ["services: the keys have expired; renew them"]
