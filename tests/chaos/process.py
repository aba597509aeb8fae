"""A command of a cluster that stays up: its supervisor, its worker, its engine."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.processes import engine_core, living

# What the logs of a worker and its supervisor say.
LOADING = "loading "
READY = "ready for shards"
SUSPENDED = "suspended for"
LEASE_LOST = "lost the lease on"
RESTARTING = "; restarting in"
ENGINE_DEAD = "exited with status 70"


@dataclass
class Process:
    """What was started; `log` is what it and its children say."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    since: float = field(default_factory=time.monotonic)

    @property
    def child(self) -> int:
        """The process id of the worker below the supervisor, 0 while there is none."""
        mine = (p.pid for p in living() if p.parent == self.popen.pid)
        return next(mine, 0)

    @property
    def engine(self) -> int:
        """The process id of the engine's core below the worker, 0 for none."""
        child = self.child
        return engine_core(child) if child else 0

    def count_in_log(self, text: str) -> int:
        """Return how often the log contains `text`."""
        return self.log.read_text().count(text)

    @property
    def is_ready(self) -> bool:
        """Whether a worker has loaded its engine, and its last one did not die."""
        starts = self.count_in_log(READY)
        return self.child != 0 and starts > self.count_in_log(RESTARTING)

    def kill(self) -> None:
        """Kill what was started with -9, and nothing below it."""
        self.popen.kill()
        self.popen.wait()

    def kill_both(self) -> None:
        """Kill what was started and its child with -9."""
        child = self.child
        self.kill()
        _send(signal.SIGKILL, child)

    def kill_child(self) -> int:
        """Kill the worker below the supervisor with -9; return its process id."""
        return _send(signal.SIGKILL, self.child)

    def kill_engine(self) -> int:
        """Kill the process of the engine with -9; return the worker's process id."""
        child = self.child
        _send(signal.SIGKILL, self.engine)
        return child

    def freeze(self) -> int:
        """Stop the worker below the supervisor; return its process id."""
        return _send(signal.SIGSTOP, self.child)

    def terminate(self) -> None:
        """Ask it to end, as an orchestrator does."""
        self.since = time.monotonic()
        self.popen.terminate()

    def end(self, seconds: float) -> tuple[int, float]:
        """Return its exit status, and the seconds since `terminate`."""
        code = self.popen.wait(seconds)
        return code, time.monotonic() - self.since


def _send(number: int, pid: int) -> int:
    assert pid, "there is no such process"  # 0 is our whole process group
    os.kill(pid, number)
    return pid


def in_folder(folder: Path) -> list[str]:
    """Return the commands of the processes that were started in a folder.

    A process inherits its folder from its parent and keeps it when the parent ends;
    its parent id and its session may change.
    """
    found = []
    for process in living():
        try:
            at = Path(f"/proc/{process.pid}/cwd").readlink()
        except OSError:
            continue
        if at == folder:
            found.append(f"{process.pid} {process.command}")
    return found
