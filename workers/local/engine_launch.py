"""How the processes of several engines are started."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from batchchat.workers.engine.engine_slots import EngineSlot
from batchchat.workers.local.engine_process import EngineProcessConfig


class EngineHandle(Protocol):
    """A process that was started; see `subprocess.Popen`."""

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit status; raise `TimeoutExpired` if it does not end."""
        ...

    def kill(self) -> None:
        """Kill it."""
        ...


def launch_process(config: EngineProcessConfig, slot: EngineSlot) -> EngineHandle:
    """Start a process on the GPUs of a slot."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "batchchat.workers.local.engine_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ | slot.environment(),
        start_new_session=True,
    )
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin as stdin:  # the keeper sees it
            stdin.write(pickle.dumps(config))
    return process


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """How the engines of a pool are started.

    `log` returns the file that the engine with a number writes to. With `gives_up`, an
    engine that cannot run is left out, and without an engine the pool fails; otherwise
    it is tried again for ever. The engine arguments in `engine` override the catalog's.
    `launch` starts a process.
    """

    slots: Sequence[EngineSlot]
    log: Callable[[int], Path]
    gives_up: bool
    engine: Mapping[str, Any] = field(default_factory=dict)
    launch: Callable[[EngineProcessConfig, EngineSlot], EngineHandle] = launch_process
