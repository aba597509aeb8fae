"""What the commands say: data on stdout, talk on stderr, colour for terminals."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from batchchat.jobs.errors import BatchchatError, OutputError

_streams: dict[int, TextIO] = {}
"""Where stdout (1) and stderr (2) really go, while an engine has taken them."""

_COLOURS = {"red": 31, "green": 32, "yellow": 33, "cyan": 36, "bold": 1, "dim": 2}


class ReaderGoneError(Exception):
    """Whoever read our stdout, such as `head`, has seen enough."""


def stderr() -> TextIO:
    """Return the stream for talk."""
    return _streams.get(2, sys.stderr)


def stdout() -> TextIO:
    """Return the stream for data."""
    return _streams.get(1, sys.stdout)


def out(text: str) -> None:
    """Print data. Raises `ReaderGoneError`, `OutputError`."""
    with _taken() as stream:
        stream.write(text + "\n")


def out_bytes(data: bytes) -> None:
    """Print data that is encoded already. Raises `ReaderGoneError`, `OutputError`."""
    with _taken() as stream:
        stream.buffer.write(data)


@contextmanager
def _taken() -> Iterator[TextIO]:
    """Lend stdout, and see that what is written there arrives."""
    stream = stdout()
    try:
        stream.flush()
        yield stream
        stream.flush()
    except OSError as error:
        _give_up(stream)
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError from None
        raise OutputError(f"can't write to stdout: {error.strerror}") from None


def _give_up(stream: TextIO) -> None:
    """Send what is still to be flushed nowhere, or Python says so at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def out_json(value: Any) -> None:
    """Print data as one line of JSON."""
    import msgspec

    encoder = msgspec.json.Encoder(decimal_format="number")
    out(encoder.encode(value).decode())


def say(text: str = "") -> None:
    """Print talk."""
    with suppress(BrokenPipeError):  # nobody listens, and the work goes on
        stderr().write(text + "\n")
        stderr().flush()


def hint(text: str | None) -> None:
    """Say what to do next, if anything."""
    if text:
        say()
        say(f"{paint('hint:', 'cyan')} {text}")


def show_error(error: BatchchatError) -> None:
    """Say what went wrong, and what to do about it."""
    say(f"{paint('error:', 'red')} {error.message}")
    hint(error.hint)


def is_terminal() -> bool:
    """Say whether somebody watches."""
    return stderr().isatty()


def paint(text: str, colour: str) -> str:
    """Colour `text` for stderr, where it is a terminal that wants colours."""
    if not is_terminal() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


@contextmanager
def engine_output(log: Path) -> Iterator[None]:
    """Send what the engine's libraries print to `log`, and keep our own streams.

    They write to the process's stdout and stderr past Python, progress bars and
    warnings by the dozen, and would spoil both the data and the display.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {number: os.dup(number) for number in (1, 2)}
    for number, descriptor in saved.items():
        _streams[number] = os.fdopen(os.dup(descriptor), "w", encoding="utf-8")
    target = _open_log(log)
    for number in saved:
        os.dup2(target, number)
    os.close(target)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in saved.items():
            os.dup2(descriptor, number)
            os.close(descriptor)
            with suppress(OSError):
                _streams.pop(number).close()


def _open_log(log: Path) -> int:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)
