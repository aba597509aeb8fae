"""The speed of a run, published in a file for other commands on this machine.

Like the status board of a cluster it is only for display, and may be lost at any time.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from batchchat.jobs.execution.progress import EngineProgress, Progress
from batchchat.jobs.ids import checked_id
from batchchat.jobs.private_files import write_private_file

_PUBLISH_SECONDS = 1.0
_MAX_AGE_SECONDS = 30.0


class Speed(msgspec.Struct, frozen=True):
    """Generated tokens per second, and the seconds to completion if known."""

    tokens_per_second: float
    seconds_left: float | None = None
    engines: list[EngineProgress] = []
    """What each of several engines does."""


class SpeedFile:
    """The file of one run, which is written once a second and removed at its end."""

    def __init__(
        self, folder: Path, batch_id: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Write to `folder`, which exists."""
        self._path = _path(folder, batch_id)
        self._clock = clock
        self._next_write = clock()

    def update(self, progress: Progress) -> None:
        """Publish the speed of a run; a full disk is no error."""
        now = self._clock()
        if now < self._next_write:
            return
        self._next_write = now + _PUBLISH_SECONDS
        speed = Speed(
            progress.tokens_per_second(), progress.seconds_left(), progress.engines
        )
        temporary = self._path.with_suffix(".new")
        with suppress(OSError):
            write_private_file(temporary, msgspec.json.encode(speed))
            temporary.replace(self._path)

    def remove(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def read_speed(folder: Path, batch_id: str) -> Speed | None:
    """Return the speed of a run on this machine, None if it is not known."""
    path = _path(folder, batch_id)
    try:
        is_old = time.time() - path.stat().st_mtime > _MAX_AGE_SECONDS
        return None if is_old else msgspec.json.decode(path.read_bytes(), type=Speed)
    except (OSError, msgspec.MsgspecError):
        return None


def _path(folder: Path, batch_id: str) -> Path:
    return folder / f"{checked_id('batch', batch_id)}.speed"
