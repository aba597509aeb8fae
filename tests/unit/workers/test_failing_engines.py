"""A single batch whose engine hangs, closes slowly or dies."""

from threading import Event

import pytest

from batchchat.jobs.errors import EngineError, EngineStartError
from batchchat.workers.engine import driver
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.engine.echo_core import EchoCore, start_echo
from tests.support.running import SETTINGS, Bench, lines, renderer


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


class Hanging(EchoCore):
    """Blocks in its third step until it is released."""

    def __init__(self, released):
        super().__init__(capacity=2)
        self._released = released
        self._steps = 0

    def step(self):
        self._steps += 1
        if self._steps == 3 and not self._released.is_set():
            self._released.wait()
        return super().step()


@pytest.fixture
def hanging(bench, monkeypatch):
    """Return an event that releases hanging engines, and the engines started."""
    released, begun = Event(), []

    def start(_model):
        engine = EngineDriver(lambda: Hanging(released), renderer())
        engine.start()
        begun.append(engine)
        return engine

    monkeypatch.setattr(driver, "_CLOSE_TIMEOUT_SECONDS", 0.1)
    bench.settings = SETTINGS.model_copy(update={"stall_seconds": 0.5})
    bench.start_engine = start
    yield released, begun
    released.set()


@pytest.mark.slow
def test_a_hanging_engine_that_can_be_closed_is_replaced(bench, hanging, monkeypatch):
    released, begun = hanging
    abandon = EngineDriver.abandon

    def end_its_process(engine, reason):
        abandon(engine, reason)
        released.set()

    monkeypatch.setattr(EngineDriver, "abandon", end_its_process)
    state = bench.run(bench.submit(lines(20)))
    assert state.counts().completed == 20
    assert len(begun) > 1


@pytest.mark.slow
def test_a_hanging_engine_that_cannot_be_closed_ends_the_run(bench, hanging):
    released, begun = hanging
    batch_id = bench.submit(lines(20))
    with pytest.raises(EngineError, match="hangs"):
        bench.run(batch_id)
    assert len(begun) == 1
    released.set()
    assert bench.run(batch_id).counts().completed == 20


class SlowToClose(EchoCore):
    """Needs longer to close than its driver waits."""

    def __init__(self, released, **speed):
        super().__init__(**speed)
        self._released = released

    def close(self):
        self._released.wait()


@pytest.fixture
def slow_to_close(bench, monkeypatch):
    """Have the bench use engines that close only after the run."""
    released = Event()

    def start(_model):
        engine = EngineDriver(lambda: SlowToClose(released, **bench.speed), renderer())
        engine.start()
        return engine

    monkeypatch.setattr(driver, "_CLOSE_TIMEOUT_SECONDS", 0.1)
    bench.start_engine = start
    yield
    released.set()


@pytest.mark.usefixtures("slow_to_close")
def test_a_completed_run_ignores_that_its_engine_closes_slowly(bench):
    assert bench.run(bench.submit(lines(20))).status == "completed"


@pytest.mark.usefixtures("slow_to_close")
def test_a_stopped_run_ignores_that_its_engine_closes_slowly(bench):
    bench.speed = {"latency": 0.05, "capacity": 4}
    bench.progress.start = lambda *_: bench.stop.request(0)
    assert bench.run(bench.submit(lines(60))).status == "in_progress"


class DyingAtStep(EchoCore):
    """Dies in its fourth step, after some results."""

    def __init__(self):
        super().__init__(capacity=4)
        self._steps = 0

    def step(self):
        self._steps += 1
        if self._steps == 4:
            raise RuntimeError("dead")
        return super().step()


def test_an_engine_that_died_after_results_may_fail_to_restart(bench):
    starts: list[int] = []

    def start(_model):
        starts.append(len(starts))
        if len(starts) == 1:
            engine = EngineDriver(DyingAtStep, renderer())
            engine.start()
            return engine
        if len(starts) == 2:
            raise EngineStartError("the memory of the dead engine is not free yet")
        return start_echo(renderer())

    bench.start_engine = start
    assert bench.run(bench.submit(lines(60))).counts().completed == 60
    assert len(starts) == 3
