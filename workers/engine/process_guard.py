"""Binds the lifetime of an engine's processes to the process that started them.

vLLM loads this module as a plugin in each of its processes (entry point
`vllm.general_plugins`). Without it, the processes of a worker killed by SIGKILL would
survive and keep their GPU memory, and a Ctrl-C, which reaches every process of a
terminal, would make them truncate answers. The guard acts only in child processes of
this program's engines: they die with their parent and ignore SIGINT and SIGTERM.
"""

import os
import signal
from contextlib import suppress

from batchchat.workers.process_lifetime import kill_with_parent

OWNER_VARIABLE = "_BATCHCHAT_ENGINE_OF"
"""Environment variable with the process id of the worker that owns the engine."""


def bind_spawned_core() -> None:
    """Bind an engine core to its worker as early as possible; otherwise do nothing.

    A spawned process imports the command's main module first. vLLM loads its plugins
    only after the worker has answered, and a core waits five minutes for that answer
    even when the worker is dead.
    """
    owner = os.environ.get(OWNER_VARIABLE)
    if owner is None:
        return
    import multiprocessing

    if multiprocessing.current_process().name.startswith("EngineCore"):
        kill_with_parent(int(owner))


def install() -> None:
    """Guard this process if it is a child of one of this program's engines."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is None or OWNER_VARIABLE not in os.environ:
        return
    from batchchat.workers.engine.vllm_grammar_backends import (
        select_backend_per_request,
    )
    from batchchat.workers.engine.vllm_grammar_limits import limit_grammar_time

    kill_with_parent(parent.pid)
    limit_grammar_time()
    select_backend_per_request()
    with suppress(ValueError):  # raised outside the main thread
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
