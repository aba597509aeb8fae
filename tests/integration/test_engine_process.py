"""The vLLM engine with its core in a child process, and how that process ends."""

import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.engine.protocol import Completion, EngineRequest
from batchchat.jobs.engine.sampling import Sampling
from batchchat.jobs.errors import EngineDeadError, EngineStartError
from tests.integration.test_vllm_engine import request
from tests.support.wait import wait_until

pytestmark = pytest.mark.engine

MODEL = load_catalog().find("demo")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def start(models):
    from batchchat.workers.engine.vllm_startup import start_vllm

    return lambda: start_vllm(MODEL, models, in_subprocess=True, log_level="error")


@pytest.fixture
def children():
    """Return the child processes started since; the session's engine may have one."""
    others = set(multiprocessing.active_children())
    return lambda: [
        one for one in multiprocessing.active_children() if one not in others
    ]


def submit(engine, count, tokens):
    """Request `count` answers of `tokens` tokens; return the queue of answers."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    prompt = engine.prepare(request())
    for index in range(count):
        sampling = Sampling(max_tokens=tokens, seed=index, ignore_eos=True)
        assert engine.submit(
            EngineRequest(f"r{index}", "p", prompt, sampling), answers.put, 5
        )
    return answers


def test_signals_do_not_truncate_answers_and_a_crash_fails_them_at_once(
    start, children
):
    engine = start()
    [core] = children()
    try:
        answers = submit(engine, 20, 200)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(core.pid, number)
        whole = [answers.get(timeout=60) for _ in range(20)]
        assert all(isinstance(answer, Completion) for answer in whole)
        assert {answer.completion_tokens for answer in whole} == {200}

        answers = submit(engine, 20, 1500)
        core.kill()
        dead = [answers.get(timeout=30) for _ in range(20)]
        assert all(isinstance(answer, EngineDeadError) for answer in dead)
        with pytest.raises(EngineDeadError):
            submit(engine, engine.capacity + 1, 1)
    finally:
        engine.close()
    assert children() == []


def test_core_that_dies_during_startup_is_an_error(start, children):
    def kill_first_child():
        wait_until(children)[0].kill()

    threading.Thread(target=kill_first_child, daemon=True).start()
    with pytest.raises(EngineStartError):
        start()


def test_engine_process_dies_with_its_worker(models):
    script = Path(__file__).with_name("engine_owner.py")
    command = [sys.executable, str(script), str(models)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        child = int(owner.stdout.readline())
        owner.kill()
    wait_until(lambda: not _is_alive(child), "the end of the engine's process")


def _is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
