"""The file that collects what the engine and its libraries print during a run.

A run writes to it directly, so that the last words of a process that crashes are in it.
The file is bounded: past its limit, it is moved to `<name>.1` and starts again.
"""

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import ClassVar

from batchchat.jobs.private_files import FILE_MODE, make_private_folder, restrict
from batchchat.jobs.settings import data_folder

_FOLDER = "logs"
_MAX_BYTES = 8 * 1024 * 1024
_CHECK_SECONDS = 2.0
_MAX_FILES = 100
"""Logs of earlier runs that are kept."""

_TAIL_BYTES = 64 * 1024
_ERROR = re.compile(r"\b((?:\w+\.)*\w*(?:Error|Exception|Panic))\b: (\S.*)$")
_SECONDARY = ("EngineDeadError", "EngineCore failed", "Engine core")
"""Words in the errors with which vLLM reports an earlier error."""


class EngineLog:
    """The log of a run, as long as it is open."""

    current: ClassVar["EngineLog | None"] = None
    """The log that the standard streams of this process are redirected to."""

    def __init__(self, path: Path) -> None:
        """Open the file at its end; without permission, discard what is written."""
        self.path: Path | None = path
        try:
            make_private_folder(path.parent)
            _delete_old(path.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self.descriptor = os.open(path, flags, FILE_MODE)
            restrict(path)
        except OSError:
            self.path = None
            self.descriptor = os.open(os.devnull, os.O_WRONLY)
        self._start = os.fstat(self.descriptor).st_size
        began = time.strftime("%Y-%m-%d %H:%M:%S")
        os.write(self.descriptor, f"--- run of {began}, pid {os.getpid()}\n".encode())
        self._closing = Event()
        self._thread = Thread(target=self._limit_size, name="engine-log", daemon=True)
        self._thread.start()
        EngineLog.current = self

    def close(self) -> None:
        """Close the file."""
        EngineLog.current = None
        self._closing.set()
        self._thread.join()
        os.close(self.descriptor)

    def last_error(self) -> str | None:
        """Return the last error that was printed in this run and is not a consequence.

        That is its type and its message, as Python prints them after a traceback.
        """
        if self.path is None:
            return None
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            begin = self._start if self._start < size else 0
            file.seek(max(begin, size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        for line in reversed(lines):
            found = _ERROR.search(line)
            if found and not any(word in line for word in _SECONDARY):
                return f"{found[1]}: {found[2]}"
        return None

    def _limit_size(self) -> None:
        while not self._closing.wait(_CHECK_SECONDS):
            if self.path and os.fstat(self.descriptor).st_size > _MAX_BYTES:
                with suppress(OSError):
                    shutil.copy(self.path, f"{self.path}.1")  # with its mode
                os.ftruncate(self.descriptor, 0)


def engine_log_path(name: str) -> Path:
    """Return the path of the log of a batch, by its id, or of a command."""
    return data_folder() / _FOLDER / f"{name}.log"


def engine_logs(name: str) -> list[Path]:
    """Return the logs that exist of a batch: its own, and one of each engine."""
    own = engine_log_path(name)
    several = own.parent.glob(f"{name}-*.log")
    return [*filter(Path.exists, [own]), *sorted(several, key=_number)]


def _number(path: Path) -> int:
    number = path.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def log_hint() -> str:
    """Return where to look for the reason of an engine's error."""
    log = EngineLog.current
    if log is None or log.path is None:
        return "set BATCHCHAT_ENGINE_LOG=info to see vLLM's messages"
    return f"see the engine's log, `{log.path}`"


def _delete_old(folder: Path) -> None:
    files = sorted(folder.glob("*.log*"), key=lambda path: path.stat().st_mtime)
    for path in files[:-_MAX_FILES]:
        path.unlink(missing_ok=True)
