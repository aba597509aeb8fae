"""The processes of a machine, as /proc shows them."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process that lives."""

    pid: int
    parent: int
    session: int
    command: str


def living() -> Iterator[Process]:
    """Yield every process but those that have ended and wait to be noticed."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if fields[0] not in "ZX":
                parent, session = int(fields[1]), int(fields[3])
                yield Process(int(folder.name), parent, session, command)


def in_session(session: int) -> list[Process]:
    """Return the processes that a command and its children are."""
    return [process for process in living() if process.session == session]


def engine_core(parent: int) -> int:
    """Return the id of the process that a command's engine has, 0 for none."""
    mine = (process for process in living() if process.parent == parent)
    return next((one.pid for one in mine if "EngineCore" in one.command), 0)


def engine_processes(parent: int) -> list[int]:
    """Return the ids of the processes that a command with several engines has."""
    mine = [process for process in living() if process.parent == parent]
    return sorted(one.pid for one in mine if "local.engine_process" in one.command)


def two_engines(parent: int) -> list[int]:
    """Return their ids if a command has two engines, otherwise nothing."""
    found = engine_processes(parent)
    return found if len(found) == 2 else []
