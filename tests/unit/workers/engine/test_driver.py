"""The driver tells everybody who waits when its core is gone."""

import queue
from threading import Event
from typing import Any

import pytest

from batchchat.jobs.engine.protocol import Completion, Work
from batchchat.jobs.engine.sampling import Sampling
from batchchat.jobs.errors import EngineDeadError, EngineStartError
from batchchat.jobs.prompts.renderer import Prompt
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.engine.echo_core import EchoCore
from tests.support.running import prompter


class Panic(BaseException):
    """What a library in Rust raises: no Exception."""


class Failing(EchoCore):
    """A core that fails at its n-th step."""

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
    engine = EngineDriver(lambda: core, prompter())
    engine.start()
    return engine


def ask(engine):
    """Submit one request; return the queue that its answer comes to."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    work = Work("k", Prompt("hi", [1, 2]), Sampling(max_tokens=2, seed=1))
    assert engine.submit(work, answers.put, 5)
    return answers


@pytest.mark.parametrize("error", [RuntimeError("gone"), Panic("gone"), SystemExit(1)])
def test_whatever_kills_the_core_is_told_to_who_waits(error):
    core = Failing(0, error)
    engine = started(core)
    assert isinstance(ask(engine).get(timeout=10), EngineDeadError)
    with pytest.raises(EngineDeadError):
        ask(engine)
    engine.close()
    assert core.closed


def test_an_engine_that_hangs_leaves_nobody_waiting_when_it_is_given_up():
    inside, released = Event(), Event()

    class Hanging(EchoCore):
        def step(self):
            inside.set()
            released.wait(10)
            return super().step()

    engine = started(Hanging(capacity=2))
    taken = ask(engine)
    assert inside.wait(10)
    not_taken = ask(engine)
    engine.abandon("it hangs")
    assert isinstance(taken.get(timeout=1), EngineDeadError)
    assert isinstance(not_taken.get(timeout=1), EngineDeadError)
    released.set()
    engine.close()


def test_a_core_that_can_not_be_built_is_an_error_that_says_why():
    def build():
        raise RuntimeError("no such model")

    with pytest.raises(EngineStartError, match="no such model"):
        EngineDriver(build, prompter()).start()


def test_room_is_given_back_with_each_answer():
    engine = started(EchoCore(capacity=1))
    for _ in range(3):
        assert isinstance(ask(engine).get(timeout=10), Completion)
    engine.close()
