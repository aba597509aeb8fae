"""Every submitted request gets an answer, even when the core fails or hangs."""

import queue
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import Any

import pytest

from batchchat.jobs.engine.protocol import Completion, EngineRequest
from batchchat.jobs.engine.sampling import Sampling
from batchchat.jobs.errors import EngineDeadError, EngineStartError, RequestRefusedError
from batchchat.jobs.prompts.renderer import Prompt
from batchchat.jobs.requests.parser import Parser
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.engine.echo_core import EchoCore
from batchchat.workers.engine.log_file import EngineLog
from tests.support.running import renderer
from tests.support.wait import wait_until


class Panic(BaseException):
    """An error of a Rust library, which does not derive from Exception."""


class Failing(EchoCore):
    """A core whose steps raise an error after `step` successful ones."""

    def __init__(self, step, error):
        super().__init__(capacity=4)
        self._left, self._error = step, error
        self.closed = False

    def step(self):
        self._left -= 1
        if self._left < 0:
            raise self._error
        return super().step()

    def close(self):
        self.closed = True


def started(core):
    engine = EngineDriver(lambda: core, renderer())
    engine.start()
    return engine


def ask(engine):
    """Submit one request; return the queue that receives its answer."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    work = EngineRequest("k", "p", Prompt("hi", [1, 2]), Sampling(max_tokens=2, seed=1))
    assert engine.submit(work, answers.put, 5)
    return answers


@pytest.mark.parametrize("error", [RuntimeError("gone"), Panic("gone"), SystemExit(1)])
def test_any_core_failure_answers_waiting_and_later_requests(error):
    core = Failing(0, error)
    engine = started(core)
    assert isinstance(ask(engine).get(timeout=10), EngineDeadError)
    with pytest.raises(EngineDeadError):
        ask(engine)
    engine.close()
    assert core.closed


def test_abandoning_a_hung_engine_answers_running_and_queued_requests():
    inside, released = Event(), Event()

    class Hanging(EchoCore):
        def step(self):
            inside.set()
            released.wait(10)
            return super().step()

    engine = started(Hanging(capacity=2))
    running = ask(engine)
    assert inside.wait(10)
    queued = ask(engine)
    engine.abandon("the engine hangs")
    assert isinstance(running.get(timeout=1), EngineDeadError)
    assert isinstance(queued.get(timeout=1), EngineDeadError)
    released.set()
    assert engine.close()
    with pytest.raises(EngineDeadError, match="hangs"):
        ask(engine)


def test_check_that_fails_because_the_engine_closes_refuses_no_request():
    checking, released = Event(), Event()

    class Checking(EchoCore):
        def check_constraints(self, _constraints, _batch_id):
            checking.set()
            assert released.wait(30)
            raise RequestRefusedError("no compiler", code="invalid_value")

    engine = started(Checking())
    line = b'{"messages": [{"role": "user", "content": "Hi"}], "tool_choice": "none"}'
    request = Parser("demo").parse(line, 1)
    with ThreadPoolExecutor(1) as pool:
        preparing = pool.submit(engine.prepare, request)
        assert checking.wait(30)
        engine.close()
        released.set()
        with pytest.raises(EngineDeadError, match="closed"):
            preparing.result(timeout=30)


def test_startup_error_states_why_the_core_could_not_be_built():
    def build():
        raise RuntimeError("no such model")

    with pytest.raises(EngineStartError, match="no such model"):
        EngineDriver(build, renderer()).start()


def test_each_answer_frees_a_slot():
    engine = started(EchoCore(capacity=1))
    for _ in range(3):
        assert isinstance(ask(engine).get(timeout=10), Completion)
    engine.close()


def test_activity_counts_the_tokens_of_answers_and_the_requests_in_the_core():
    engine = started(EchoCore(capacity=2))
    assert engine.activity().idle_seconds is None
    answer = ask(engine).get(timeout=10)
    activity = engine.activity()
    assert activity.steps >= 1
    assert activity.generated_tokens == answer.completion_tokens
    assert (activity.running, activity.waiting, activity.unfinished_tokens) == (0, 0, 0)
    slow = started(EchoCore(capacity=2, per_token=60.0))
    ask(slow)
    wait_until(lambda: slow.activity().running == 1)
    assert slow.activity().idle_seconds is not None
    engine.close()
    slow.close()


def test_death_is_reported_with_its_type_and_the_path_of_the_log(tmp_path, capfd):
    with closing(EngineLog(tmp_path / "x.log")):
        engine = started(Failing(0, ValueError("first line\nsecond line")))
        death = ask(engine).get(timeout=5)
    engine.close()
    assert death.message == "the engine died: ValueError: first line"
    assert death.reason == "ValueError: first line"
    assert str(tmp_path / "x.log") in (death.hint or "")
    assert "Traceback" in capfd.readouterr().err


def test_error_at_startup_has_the_path_of_the_log(tmp_path):
    def fail():
        raise ValueError("no such file")

    with closing(EngineLog(tmp_path / "x.log")), pytest.raises(EngineStartError) as it:
        EngineDriver(fail, renderer()).start()
    assert it.value.message == "the engine did not start: ValueError: no such file"
    assert str(tmp_path / "x.log") in (it.value.hint or "")
