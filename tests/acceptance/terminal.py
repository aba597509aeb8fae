"""Run the command in a terminal of a given width, as a pseudo-terminal."""

import fcntl
import os
import re
import struct
import subprocess
import termios
from contextlib import suppress
from typing import NamedTuple

from tests.acceptance.command import COMMAND, Place

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_HEIGHT = 40


class Screen(NamedTuple):
    """What a command wrote to its terminal, without colors, and its exit status."""

    code: int
    lines: list[str]


def run_in_terminal(
    place: Place, width: int, *arguments: str, typed: bytes = b""
) -> Screen:
    """Run `batchchat` in a terminal that is `width` cells wide, and type `typed`."""
    master, terminal = os.openpty()
    size = struct.pack("HHHH", _HEIGHT, width, 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
    environment = {
        name: value for name, value in place.environment.items() if name != "COLUMNS"
    }
    with subprocess.Popen(
        [COMMAND, *arguments],
        env=environment | {"TERM": "xterm"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=place.folder,
    ) as process:
        os.close(terminal)
        os.write(master, typed)
        written = b""
        with suppress(OSError):  # Linux reports the end of the last writer as an error
            while data := os.read(master, 65_536):
                written += data
    os.close(master)
    text = _ESCAPES.sub("", written.decode()).replace("\r\n", "\n")
    return Screen(process.returncode, text.splitlines())
