"""A failure of the compiler's process is no fault of the request; without xgrammar."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace as Bag

import pytest

from batchchat.jobs.errors import EngineError
from batchchat.workers.engine import grammar_process
from batchchat.workers.engine.grammar_process import GrammarProcess
from tests.support.wait import wait_until

GRAMMAR = ("regex", "a")


def exit_at_once(_connection, _busy, _guidance):
    pass


def never_reply(connection, busy, _guidance):
    connection.send(True)
    connection.recv()
    Path(busy).touch()
    connection.recv()


@pytest.fixture
def busy(tmp_path):
    """A file that `never_reply` makes once it has received a grammar."""
    return tmp_path / "busy"


@pytest.fixture
def start(monkeypatch, busy):
    """Return what makes a process that runs `serve` in place of the compiler."""
    info = Bag(serialize_json=lambda: str(busy))
    library = Bag(TokenizerInfo=Bag(from_huggingface=lambda *_, **__: info))
    monkeypatch.setitem(sys.modules, "xgrammar", library)

    def start(serve):
        monkeypatch.setattr(grammar_process, "serve", serve)
        return GrammarProcess(None, 0)

    return start


@pytest.fixture
def interrupted(start, busy):
    """Return what ends a `compile` in progress and returns its result."""

    def interrupted(interrupt):
        with closing(start(never_reply)) as process, ThreadPoolExecutor(1) as pool:
            compiling = pool.submit(process.compile, GRAMMAR, 1)
            wait_until(lambda: busy.exists() or compiling.done())
            assert not compiling.done()
            interrupt(process)
            return compiling.result(timeout=30)

    return interrupted


def test_child_that_exits_during_startup_is_an_engine_error(start):
    process = start(exit_at_once)
    with pytest.raises(EngineError, match="did not start"):
        process.compile(GRAMMAR, 1)
    assert process.pid is None


def test_termination_by_a_signal_does_not_refuse_the_grammar(interrupted):
    with pytest.raises(EngineError, match="terminated"):
        interrupted(lambda process: os.kill(process.pid, signal.SIGTERM))


def test_closing_does_not_refuse_the_grammar(interrupted):
    with pytest.raises(EngineError, match="terminated"):
        interrupted(GrammarProcess.close)


def test_kill_by_the_kernel_counts_as_lack_of_memory(interrupted):
    verdict = interrupted(lambda process: os.kill(process.pid, signal.SIGKILL))
    assert "too much memory" in verdict.error
