"""Write to the terminal: data to stdout, everything else to stderr."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from batchchat.jobs.errors import BatchchatError, OutputError

_real_streams: dict[int, TextIO] = {}
"""The process's own stdout (1) and stderr (2) while `engine_output` redirects them."""

_COLORS = {"red": 31, "green": 32, "yellow": 33, "cyan": 36}


class BrokenOutputError(Exception):
    """The reader of stdout, such as `head`, has closed the pipe."""


def stderr() -> TextIO:
    """Return the stream for messages."""
    return _real_streams.get(2, sys.stderr)


def stdout() -> TextIO:
    """Return the stream for data."""
    return _real_streams.get(1, sys.stdout)


def print_data(text: str) -> None:
    """Print a line of data. Raises `BrokenOutputError`, `OutputError`."""
    with _stdout_writer() as stream:
        stream.write(text + "\n")


def print_bytes(data: bytes) -> None:
    """Print encoded data as it is. Raises `BrokenOutputError`, `OutputError`."""
    with _stdout_writer() as stream:
        stream.buffer.write(data)


def print_json(value: Any) -> None:
    """Print data as one line of JSON. Raises `BrokenOutputError`, `OutputError`."""
    from batchchat.jobs.json_lines import encode

    print_data(encode(value).decode())


def print_encoded(json: bytes) -> None:
    """Print encoded JSON as one line. Raises `BrokenOutputError`, `OutputError`."""
    from batchchat.jobs.json_lines import escape_line_breaks

    print_data(escape_line_breaks(json).decode())


@contextmanager
def _stdout_writer() -> Iterator[TextIO]:
    """Yield stdout, flush it, and translate its errors."""
    stream = stdout()
    try:
        stream.flush()
        yield stream
        stream.flush()
    except OSError as error:
        _discard_buffer(stream)
        if isinstance(error, BrokenPipeError):
            raise BrokenOutputError from None
        raise OutputError(
            f"can't write to stdout: {error.strerror}",
            hint="write to another place, such as a file with `--output PATH`",
        ) from None


def _discard_buffer(stream: TextIO) -> None:
    """Send buffered text to /dev/null, so that Python reports no error at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def info(text: str = "") -> None:
    """Print a message to stderr."""
    with suppress(BrokenPipeError):  # a closed stderr must not stop the work
        stderr().write(text + "\n")
        stderr().flush()


def hint(text: str | None) -> None:
    """Print what to do next, if there is anything to do."""
    if text:
        info()
        info(f"{style('hint:', 'cyan')} {text}")


def print_error(error: BatchchatError) -> None:
    """Print what went wrong, and how to fix it."""
    info(f"{style('error:', 'red')} {error.message}")
    hint(error.hint)


def stderr_is_terminal() -> bool:
    """Return whether messages go to a terminal that can rewrite a line."""
    return stderr().isatty() and os.environ.get("TERM") != "dumb"


def stdout_width() -> int | None:
    """Return the width of the terminal that data goes to, None if it goes elsewhere."""
    if not stdout().isatty():
        return None
    return shutil.get_terminal_size((0, 0)).columns or None


def style(text: str, color: str) -> str:
    """Return `text` in a color if stderr is a terminal and NO_COLOR is not set."""
    if not stderr_is_terminal() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_COLORS[color]}m{text}\x1b[0m"


@contextmanager
def engine_output(log: Path) -> Iterator[None]:
    """Redirect what the engine's libraries print to `log`.

    They write progress bars and warnings to the process's file descriptors, which
    would corrupt both the data on stdout and the progress display.
    """
    from batchchat.workers.engine.log_file import EngineLog

    sys.stdout.flush()
    sys.stderr.flush()
    saved = {number: os.dup(number) for number in (1, 2)}
    for number, descriptor in saved.items():
        _real_streams[number] = os.fdopen(os.dup(descriptor), "w", encoding="utf-8")
    opened = EngineLog(log)
    for number in saved:
        os.dup2(opened.descriptor, number)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in saved.items():
            os.dup2(descriptor, number)
            os.close(descriptor)
            with suppress(OSError):
                _real_streams.pop(number).close()
        opened.close()
