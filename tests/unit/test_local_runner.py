"""The runner of a server: which batch is next, and what holds none up."""

import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobs.active import Active
from jobs.catalog import Catalog, Model
from jobs.create import Options, cancel_batch, create_batch, store_file
from jobs.errors import EngineStartError, StorageError
from jobs.ids import made_at, new_batch_id
from jobs.ledger import Ledger
from jobs.settings import Settings
from jobs.storage import MemoryStorage
from tests.unit.running import ECHO, EchoPrompters, lines, prompter
from workers.echo_core import start_echo
from workers.local import LocalRunner
from workers.warm import WarmEngine

SETTINGS = Settings(shard_requests=7, checkpoint_seconds=0.001, patience_seconds=0)


class Bench:
    """A storage with batches that are handed over, and a runner of them."""

    def __init__(self, folder: Path):
        self.storage = MemoryStorage()
        self.started: list[str] = []
        self.fails: set[str] = set()
        self.speed: dict[str, float] = {}
        self.runner = LocalRunner(
            self.storage,
            SETTINGS,
            Catalog({"echo": ECHO}),
            start_engine=self.start_engine,
            models=folder,
            locks=folder,
        )
        self.runner._prompters = EchoPrompters(Catalog({"echo": ECHO}), folder)
        self.began = False

    def ledger(self, project="default"):
        return Ledger(self.storage, project)

    def start_engine(self, model: Model):
        if self.fails:
            raise EngineStartError(self.fails.pop())
        self.started.append(model.name)
        return start_echo(prompter(), **self.speed)

    def submit(self, data=None, project="default", **options):
        ledger = self.ledger(project)
        asked = Options(**{"model": "echo", "seed": 1, **options})
        file = store_file(ledger, [data or lines(9)], "input.jsonl")
        return create_batch(ledger, file, asked, hand_over=True).id

    def start(self):
        self.began = True
        self.runner.start()

    def until(self, seen, seconds=20):
        deadline = time.monotonic() + seconds
        while not seen():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def until_ended(self, *batch_ids, project="default"):
        ledger = self.ledger(project)
        for batch_id in batch_ids:
            self.until(lambda: ledger.state(batch_id).is_terminal)  # noqa: B023
        return [ledger.state(batch_id) for batch_id in batch_ids]

    def close(self):
        if self.began:
            self.runner.close(0)


@pytest.fixture
def bench(tmp_path):
    with closing(Bench(tmp_path)) as bench:
        yield bench


def test_batches_of_all_projects_are_run_and_leave_the_index(bench):
    first, second = bench.submit(), bench.submit(project="other")
    bench.start()
    [state] = bench.until_ended(first)
    [other] = bench.until_ended(second, project="other")
    assert state.status == other.status == "completed"
    assert state.counts().completed == 9
    bench.until(lambda: not list(Active(bench.storage)))


def test_the_most_urgent_is_first_then_the_oldest(bench):
    made = [
        bench.submit(priority=priority)
        for priority in ("low", "normal", "high", "normal", "high")
    ]
    order = []
    while (batch := bench.runner._next()) is not None:
        order.append(made.index(batch.id))
        Active(bench.storage).remove("default", batch.id)
    assert order == [2, 4, 1, 3, 0]


def test_one_engine_serves_batch_after_batch(bench):
    made = [bench.submit() for _ in range(3)]
    bench.start()
    bench.until_ended(*made)
    assert bench.started == ["echo"]
    assert bench.runner.loaded == "echo"


def test_a_batch_that_fails_holds_no_other_up_and_is_tried_again(bench, monkeypatch):
    monkeypatch.setattr("workers.local._FIRST_WAIT", 0.1)
    bench.fails = {"no memory"}
    first, second = bench.submit(), bench.submit()
    bench.start()
    states = bench.until_ended(second, first)
    assert [state.status for state in states] == ["completed"] * 2
    assert states[0].final.created_at <= states[1].final.created_at


def test_a_bug_holds_nothing_up(bench, monkeypatch):
    monkeypatch.setattr("workers.local._FIRST_WAIT", 0.1)
    failures = [ZeroDivisionError()]
    start = bench.start_engine

    def start_engine(model):
        if failures:
            raise failures.pop()
        return start(model)

    bench.runner._engine = WarmEngine(start_engine)
    made = bench.submit(), bench.submit()
    bench.start()
    bench.until_ended(*made)


def test_one_that_is_cancelled_while_it_waits_is_ended_at_once(bench):
    bench.speed = {"latency": 30.0}
    running = bench.submit()
    bench.start()
    bench.until(lambda: bench.runner.running)
    waiting = bench.submit()
    cancel_batch(bench.ledger(), waiting)
    [state] = bench.until_ended(waiting)
    assert state.status == "cancelled"
    assert not bench.ledger().state(running).is_terminal
    cancel_batch(bench.ledger(), running)
    bench.until_ended(running)


def test_one_that_is_cancelled_while_it_runs_leaves_the_engine_fit(bench):
    bench.speed = {"per_token": 0.5}
    batch_id = bench.submit(lines(9, max_tokens=200))
    bench.start()
    bench.until(lambda: bench.ledger().state(batch_id).status == "in_progress")
    cancel_batch(bench.ledger(), batch_id)
    [state] = bench.until_ended(batch_id)
    assert state.status == "cancelled"
    again = bench.submit(lines(3, max_tokens=1))
    bench.until_ended(again)
    assert bench.started == ["echo"]


def test_an_entry_whose_create_was_cut_off_is_dropped_after_a_while(bench, monkeypatch):
    batch_id = new_batch_id()
    Active(bench.storage).add("default", batch_id)
    assert bench.runner._next() is None
    assert len(list(Active(bench.storage))) == 1
    monkeypatch.setattr("workers.local.time.time", lambda: made_at(batch_id) + 3_601)
    assert bench.runner._next() is None
    assert list(Active(bench.storage)) == []


def test_an_entry_of_a_batch_that_ended_is_dropped(bench):
    batch_id = bench.submit()
    bench.start()
    bench.until_ended(batch_id)
    bench.until(lambda: not list(Active(bench.storage)))
    Active(bench.storage).add("default", batch_id)
    bench.until(lambda: not list(Active(bench.storage)))


def test_what_a_closed_runner_had_begun_another_ends(bench, tmp_path):
    bench.speed = {"per_token": 0.05}
    batch_id = bench.submit(lines(60, max_tokens=40))
    bench.start()
    bench.until(lambda: bench.runner.totals is not None and bench.runner.running)
    bench.runner.close(0)
    bench.began = False
    assert not bench.ledger().state(batch_id).is_terminal
    with closing(Bench(tmp_path)) as other:
        other.storage = bench.storage
        other.runner._storage._storage = bench.storage
        other.runner._active = Active(bench.storage)
        other.start()
        [state] = other.until_ended(batch_id)
    assert state.counts().completed == 60


def test_it_counts_what_it_has_done(bench):
    made = bench.submit(), bench.submit(b"no JSON\n")
    bench.start()
    bench.until_ended(*made)
    totals = bench.runner.totals
    bench.until(lambda: sum(totals.batches_ended.values()) == 2)
    assert totals.batches_ended == {"completed": 1, "failed": 1}
    assert totals.requests_done["completed"] == 9
    assert totals.tokens["output"] > 0


class Away(MemoryStorage):
    """Can't list for a while."""

    left = 3

    def list(self, prefix, start_after=""):
        self.left -= 1
        if self.left > 0:
            raise StorageError("away")
        return super().list(prefix, start_after)


def test_a_storage_that_is_away_is_waited_for(bench):
    away = Away()
    away._objects = bench.storage._objects
    bench.runner._active = Active(away)
    batch_id = bench.submit()
    bench.start()
    bench.until_ended(batch_id)


class Mortal:
    """An engine that dies when it is told to."""

    capacity, fingerprint, steps = 1, "fp", 0

    def __init__(self):
        self.identity: dict[str, object] = {}
        self.is_alive = True
        self.is_closed = threading.Event()

    def close(self):
        self.is_closed.set()


def test_a_dead_engine_is_not_lent_again():
    engines: list[Any] = []

    def start(_):
        engines.append(Mortal())
        return engines[-1]

    warm = WarmEngine(start)
    warm.lend(ECHO).close()
    engines[0].is_alive = False
    warm.lend(ECHO).close()
    assert len(engines) == 2
    assert engines[0].is_closed.is_set()


def test_another_model_has_another_engine_and_one_is_loaded_at_a_time():
    engines: list[Any] = []

    def start(_):
        assert all(one.is_closed.is_set() for one in engines)
        engines.append(Mortal())
        return engines[-1]

    warm = WarmEngine(start)
    for name in ("a", "a", "b", "a"):
        warm.lend(Model(name=name, source=name)).close()
    assert len(engines) == 3
    assert warm.model == "a"
