"""The local runner: several batches and models, failing engines, shutdown."""

import time
from functools import partial
from threading import Event

import pytest

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.errors import EngineStartError
from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import cancel_batch, create_batch
from batchchat.jobs.storage import MemoryStorage
from batchchat.workers.broker import lease_keeper
from batchchat.workers.broker.messages import WorkMessage, queue_name
from batchchat.workers.engine import driver
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.engine.echo_core import EchoCore, start_echo
from batchchat.workers.local import engine_loop, runner
from batchchat.workers.local.in_process_broker import InProcessBroker
from batchchat.workers.local.runner import LocalRunner
from tests.support.memory_broker import memory_environment
from tests.support.running import ECHO, SETTINGS, EchoRegistry, lines, renderer
from tests.support.wait import wait_until

OTHER = Model(name="other", source="other", context_length=512)


class Site:
    """A storage, and a runner of its batches."""

    def __init__(self, monkeypatch, tmp_path):
        monkeypatch.setattr(engine_loop, "_BACKOFF", Backoff(0.05, 300.0))
        monkeypatch.setattr(driver, "_CLOSE_TIMEOUT_SECONDS", 0.5)
        for module in (driver, engine_loop, runner):
            monkeypatch.setattr(module, "_POLL_SECONDS", 0.02)
        self.storage = MemoryStorage()
        self.started = []
        self.start = lambda _model: start_echo(renderer())
        self.registry = EchoRegistry(Catalog({"echo": ECHO, "other": OTHER}), tmp_path)
        self.runner = self.make_runner(SETTINGS)

    def make_runner(self, settings, on_stuck=lambda: None, **clocks):
        self.broker = InProcessBroker(resend_seconds=0.2)
        environment = memory_environment(
            self.storage,
            settings,
            leases=self.broker,
            status_board=self.broker,
            **clocks,
        )
        return LocalRunner(
            environment,
            self.broker,
            self.registry,
            start_engine=self._start,
            on_stuck=on_stuck,
        )

    def _start(self, model):
        self.started.append(model.name)
        return self.start(model)

    def ledger(self, project="default"):
        return Ledger(self.storage, project)

    def submit(self, data, project="default", **options):
        asked = BatchOptions(**{"model": "echo", "seed": 1, **options})
        ledger = self.ledger(project)
        file = store_file(ledger, [data], "in.jsonl")
        return create_batch(ledger, file, asked, enqueue=True).id

    def states(self, *batches, project="default"):
        return [self.ledger(project).state(batch) for batch in batches]

    def ended(self, *batches, project="default"):
        """Return the states of the batches once all have ended."""
        wait_until(
            lambda: all(
                state.is_terminal for state in self.states(*batches, project=project)
            ),
        )
        return self.states(*batches, project=project)

    def wait_until_inactive(self):
        """Wait until the index has no batch."""
        wait_until(lambda: not list(ActiveIndex(self.storage)))

    @property
    def finished(self):
        """The number of requests finished so far."""
        return self.runner.stats.requests_done["completed"]


@pytest.fixture
def site(monkeypatch, tmp_path):
    site = Site(monkeypatch, tmp_path)
    yield site
    site.runner.close(0)


def test_batches_of_all_projects_share_one_engine(site):
    mine = [site.submit(lines(20)) for _ in range(5)]
    theirs = site.submit(lines(20), project="other")
    site.runner.start()
    states = site.ended(*mine) + site.ended(theirs, project="other")
    assert {state.status for state in states} == {"completed"}
    assert [state.counts().completed for state in states] == [20] * 6
    assert site.started == ["echo"]
    assert site.runner.stats.batches_ended == {"completed": 6}
    assert site.runner.stats.requests_done["completed"] == 120


def test_another_model_is_served_when_the_first_is_idle(site):
    first, second = site.submit(lines(9)), site.submit(lines(9), model="other")
    site.runner.start()
    site.ended(first, second)
    assert sorted(site.started) == ["echo", "other"]


@pytest.mark.slow
def test_a_busy_model_yields_after_its_time_slice(site, monkeypatch):
    monkeypatch.setattr(engine_loop, "_MAX_MODEL_SLICE_SECONDS", 0.1)
    site.start = lambda _model: start_echo(renderer(), latency=0.1, capacity=4)
    long = site.submit(lines(90))
    site.runner.start()
    wait_until(lambda: site.started)
    short = site.submit(lines(3), model="other")
    site.ended(short)
    assert not site.ledger().state(long).is_terminal
    site.ended(long)
    assert site.started[:2] == ["echo", "other"]


def test_a_dead_engine_is_restarted(site):
    class Fragile(EchoCore):
        def step(self):
            if len(site.started) == 1:
                raise RuntimeError("dead")
            return super().step()

    def start(_model):
        engine = EngineDriver(partial(Fragile), renderer())
        engine.start()
        return engine

    site.start = start
    batch = site.submit(lines(20))
    site.runner.start()
    [state] = site.ended(batch)
    assert state.counts().completed == 20
    assert site.started == ["echo", "echo"]


def test_a_model_that_fails_to_load_does_not_delay_others(site):
    def start(model):
        if model.name == "echo":
            raise EngineStartError("no room on the GPU")
        return start_echo(renderer())

    site.start = start
    stuck, other = site.submit(lines(5)), site.submit(lines(5), model="other")
    site.runner.start()
    site.ended(other)
    assert site.ledger().state(stuck).status == "in_progress"
    site.start = lambda _model: start_echo(renderer())
    site.ended(stuck)


class RustPanic(BaseException):
    """A panic of a library, which is no `Exception`."""


def test_the_runner_survives_panics(site, tmp_path):
    panics = {"load", "plan"}

    def panic(cause):
        if cause in panics:
            panics.remove(cause)
            raise RustPanic

    def start(_model):
        panic("load")
        return start_echo(renderer())

    class Registry(EchoRegistry):
        def get_if_local(self, name):
            panic("plan")
            return super().get_if_local(name)

    site.start = start
    site.registry = Registry(Catalog({"echo": ECHO}), tmp_path)
    site.runner = site.make_runner(SETTINGS)
    batch = site.submit(lines(5))
    site.runner.start()
    [state] = site.ended(batch)
    assert (state.counts().completed, panics) == (5, set())


def test_a_message_of_a_removed_batch_is_dropped(site):
    gone = WorkMessage.for_shard("default", new_batch_id(), 0)
    site.broker.send(queue_name(ECHO), gone)
    site.runner.start()
    wait_until(lambda: not site.broker.first_messages())
    assert site.started == []


@pytest.mark.slow
def test_a_suspended_process_keeps_its_running_requests(site, monkeypatch):
    submitted = []
    skipped = [0.0]

    class Counting(EchoCore):
        def add(self, work):
            submitted.append(work.key)
            super().add(work)

    def start(_model):
        engine = EngineDriver(partial(Counting, latency=1.0), renderer())
        engine.start()
        return engine

    monkeypatch.setattr(lease_keeper, "_MAX_TICK_SECONDS", 0.05)
    site.start = start
    site.runner = site.make_runner(
        SETTINGS, monotonic=lambda: time.monotonic() + skipped[0]
    )
    batch = site.submit(lines(20))
    site.runner.start()
    wait_until(lambda: len(submitted) == 20 and site.runner.shards)
    skipped[0] = 3600.0
    site.ended(batch)
    assert len(submitted) == 20


def test_a_cancelled_batch_keeps_finished_results(site):
    site.start = lambda _model: start_echo(renderer(), latency=0.2, capacity=4)
    batch = site.submit(lines(200))
    site.runner.start()
    wait_until(lambda: site.finished)
    cancel_batch(site.ledger(), batch)
    [state] = site.ended(batch)
    assert state.status == "cancelled"
    assert 0 < state.counts().completed < 200


def test_a_waiting_batch_ends_at_once_when_cancelled(site):
    site.start = lambda _model: start_echo(renderer(), latency=0.2, capacity=4)
    first, waiting = site.submit(lines(200)), site.submit(lines(9), model="other")
    cancel_batch(site.ledger(), waiting)
    site.runner.start()
    [state] = site.ended(waiting)
    assert state.status == "cancelled"
    assert not site.ledger().state(first).is_terminal
    cancel_batch(site.ledger(), first)


def test_no_model_is_loaded_for_a_cancelled_waiting_batch(site):
    site.start = lambda _model: start_echo(renderer(), latency=0.2, capacity=4)
    first = site.submit(lines(200))
    site.runner.start()
    wait_until(lambda: site.started)
    waiting = site.submit(lines(9), model="other")
    wait_until(lambda: queue_name(OTHER) in site.broker.first_messages())
    cancel_batch(site.ledger(), waiting)
    site.ended(waiting)
    cancel_batch(site.ledger(), first)
    site.ended(first)
    wait_until(lambda: not site.broker.first_messages())
    assert site.started == ["echo"]


def test_an_ended_batch_leaves_the_active_index(site):
    batch = site.submit(lines(3))
    site.runner.start()
    site.ended(batch)
    site.wait_until_inactive()


def test_a_closed_runner_keeps_results_for_the_next_one(site):
    site.start = lambda _model: start_echo(renderer(), latency=0.2, capacity=4)
    batch = site.submit(lines(40))
    site.runner.start()
    wait_until(lambda: site.finished)
    site.runner.close(0.3)
    done = site.runner.stats.requests_done["completed"]
    assert 0 < done < 40
    site.start = lambda _model: start_echo(renderer())
    again = site.make_runner(SETTINGS)
    again.start()
    [state] = site.ended(batch)
    again.close(0)
    assert state.counts().completed == 40
    assert again.stats.requests_done["completed"] == 40 - done


@pytest.mark.slow
def test_the_progress_of_open_shards_is_published(site):
    site.start = lambda _model: start_echo(renderer(), latency=0.3, capacity=4)
    batch = site.submit(lines(20))
    site.runner.start()
    seen: list[str] = []

    def sees_progress():
        shards = dict(site.runner.shards)
        seen[:] = [batch_id for batch_id, _ in shards]
        return sum(progress.counts.completed for progress in shards.values())

    wait_until(sees_progress)
    assert set(seen) == {batch}


@pytest.mark.slow
def test_a_hanging_engine_is_abandoned(site, monkeypatch):
    monkeypatch.setattr(driver, "_CLOSE_TIMEOUT_SECONDS", 0.1)

    class Hanging(EchoCore):
        def step(self):
            if len(site.started) == 1:
                released.wait()
            return super().step()

    def start(_model):
        engine = EngineDriver(partial(Hanging), renderer())
        engine.start()
        return engine

    released = Event()
    hangs: list[bool] = []
    site.start = start

    def on_stuck():
        hangs.append(True)
        released.set()

    settings = SETTINGS.model_copy(update={"stall_seconds": 1.0})
    site.runner = site.make_runner(settings, on_stuck)
    batch = site.submit(lines(5))
    site.runner.start()
    [state] = site.ended(batch)
    released.set()
    assert state.counts().completed == 5
    assert len(hangs) == 1


def test_results_are_delivered_before_the_batch_leaves_the_index(site, tmp_path):
    allowed = SETTINGS.model_copy(update={"output_prefixes": (f"{tmp_path}/exports",)})
    site.runner = site.make_runner(allowed)
    place = f"{tmp_path}/exports/mine"
    batch_id = site.submit(lines(3), destination=place, output_format="both")
    site.runner.start()
    [state] = site.ended(batch_id)
    assert state.status == "completed"
    site.wait_until_inactive()
    files = site.ledger().state(batch_id).delivery_receipt.files
    assert [name.rpartition("_")[2] for name in files] == [
        "output.jsonl",
        "output.parquet",
    ]
