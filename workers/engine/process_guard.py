"""Ties the life of an engine's processes to the process that started them.

vLLM loads this in each of its processes (entry point `vllm.general_plugins`).
A worker killed with -9 would leave them behind, on a GPU with its memory; and a
Ctrl-C, which reaches every process of a terminal, would make them cut answers
short. So in the engine's children, and in nobody else's: they die with their
parent, and signals are the parent's affair.
"""

import os
import signal
from contextlib import suppress

from batchchat.workers.engine.vllm_grammar_limits import limit_grammar_time

OWNER_VARIABLE = "BATCHCHAT_ENGINE_OF"
"""Environment variable with the process id of the worker that owns the engine."""

_PR_SET_PDEATHSIG = 1


def bind_spawned_core() -> None:
    """Tie an engine's core to its worker as soon as it is spawned.

    A spawned process imports the command first of all. vLLM comes to its plugins only
    when the worker has answered, for which a core waits five minutes, whether the
    worker lives or not.
    """
    owner = os.environ.get(OWNER_VARIABLE)
    if owner is None:
        return
    import multiprocessing

    if multiprocessing.current_process().name.startswith("EngineCore"):
        kill_with_parent(int(owner))


def install() -> None:
    """Guard this process if it is a child of one of our engines."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is None or OWNER_VARIABLE not in os.environ:
        return
    kill_with_parent(parent.pid)
    limit_grammar_time()
    with suppress(ValueError):  # only the main thread may say so
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def kill_with_parent(parent: int | None) -> None:
    """Have this process killed when the one that began it, `parent`, is gone."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be told to
        os.kill(os.getpid(), signal.SIGKILL)
