"""Run the installed command as a user does: as a process with its streams."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from tests.support.child import dies_with_tests

COMMAND = Path(sys.executable).with_name("batchchat")
PATIENCE = 300.0
"""Seconds after which a test gives up waiting."""

TINY = 4_096
"""A file size in bytes that a run's messages fit in, but a checkpoint does not."""

NO_SETTINGS: Mapping[str, object] = MappingProxyType({})

_LOOK = 0.02
_BIG = 50_000_000

T = TypeVar("T")


class Done(NamedTuple):
    """A command that has ended; `seconds` since the last signal, or the start."""

    code: int
    out: bytes
    err: str
    seconds: float

    def json(self) -> Any:
        """Return stdout as JSON, with exact numbers."""
        return json.loads(self.out, parse_float=Decimal)


@dataclass
class Running:
    """A command that runs in a process group of its own."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    since: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """Its process id, which is its group's and its session's too."""
        return self.process.pid

    def until(self, seen: Callable[[], T], seconds: float = PATIENCE) -> T:
        """Wait until `seen` returns something true, and return it."""
        deadline = time.monotonic() + seconds
        while not (found := seen()):
            assert self.process.poll() is None, f"it ended: {self.err.read_text()}"
            assert time.monotonic() < deadline, f"in vain: {self.err.read_text()}"
            time.sleep(_LOOK)
        return found

    def until_it_says(self, text: str) -> None:
        """Wait until stderr contains `text`."""
        self.until(lambda: text in self.err.read_text())

    def signal(self, number: int) -> None:
        """Send a signal to the whole group, as a terminal does."""
        self.since = time.monotonic()
        os.killpg(self.pid, number)

    def limit_files(self, size: int = resource.RLIM_INFINITY) -> None:
        """Limit the size of its files, as if the disk were full."""
        limits = size, resource.RLIM_INFINITY
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, limits)

    def end(self, seconds: float = PATIENCE) -> Done:
        """Wait for its end."""
        code = self.process.wait(seconds)
        took = time.monotonic() - self.since
        return Done(code, self.out.read_bytes(), self.err.read_text(), took)

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()


@dataclass
class Place:
    """A user's working directory, settings, and the commands started there."""

    folder: Path
    environment: dict[str, str]
    tripwire: Path
    """A folder with a failing `vllm`, for tests that must not start an engine."""

    started: list[Running] = field(default_factory=list)

    @property
    def storage(self) -> Path:
        """The storage folder."""
        return self.folder / "storage"

    def start(
        self,
        *arguments: str | Path,
        engine: bool = False,
        stdin: bytes = b"",
        through: Sequence[str] = (),
        program: Sequence[str] = (str(COMMAND),),
        settings: Mapping[str, object] = NO_SETTINGS,
    ) -> Running:
        """Start `batchchat` with `arguments`, `through` another command if given.

        `program` is what is started in its place.
        """
        stem = self.folder / f"command-{len(self.started)}"
        given = stem.with_suffix(".in")
        given.write_bytes(stdin)
        command = [*through, *program, *map(str, arguments)]
        out, err = stem.with_suffix(".out"), stem.with_suffix(".err")
        with given.open("rb") as file, out.open("wb") as to, err.open("wb") as talk:
            process = subprocess.Popen(
                command,
                env=self._environment(settings, engine=engine),
                stdin=file,
                stdout=to,
                stderr=talk,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=dies_with_tests(signal.SIGTERM),  # noqa: PLW1509
            )
        self.started.append(Running(process, out, err))
        return self.started[-1]

    def run(self, *arguments: str | Path, **how: Any) -> Done:
        """Run `batchchat` with `arguments` to its end."""
        return self.start(*arguments, **how).end()

    def hand_in(self, file: Path) -> str:
        """Submit a file without running it; return the batch's id."""
        done = self.run("submit", file, "--model", "demo", "--seed", "1", "--no-wait")
        assert done.code == 0, done.err
        return done.out.decode().strip()

    def file(self, name: str, data: bytes) -> Path:
        """Write a file to the working directory."""
        path = self.folder / name
        path.write_bytes(data)
        return path

    def close(self) -> None:
        """End all commands, and delete big files."""
        for running in self.started:
            running.kill()
        for path in self.folder.rglob("*"):
            if path.is_file() and path.stat().st_size > _BIG:
                path.unlink()

    def _environment(
        self, settings: Mapping[str, object], *, engine: bool
    ) -> dict[str, str]:
        own = {f"BATCHCHAT_{name.upper()}": str(it) for name, it in settings.items()}
        trap = {} if engine else {"PYTHONPATH": str(self.tripwire)}
        return self.environment | trap | own
