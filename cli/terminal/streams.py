"""Write to the terminal: data to stdout, everything else to stderr.

All that the commands print passes through this module, and it escapes what a terminal
would obey (`jobs/printable.py`). Callers print one line at a time; a line that is
longer than the terminal is wide is broken between words.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from batchchat.cli.terminal.wrapping import line_breaks
from batchchat.jobs.errors import BatchchatError, OutputError
from batchchat.jobs.printable import printable, printable_json

_real_streams: dict[int, TextIO] = {}
"""The process's own stdout (1) and stderr (2) while `engine_output` redirects them."""

_HANG = 2
"""How far all lines of a message but the first are indented."""

_COLORS = {"red": 31, "green": 32, "yellow": 33, "cyan": 36}


class Styled(NamedTuple):
    """Text in a color, if the stream is a terminal and NO_COLOR is not set."""

    text: str
    color: str


class BrokenOutputError(Exception):
    """The reader of stdout, such as `head`, has closed the pipe."""


def open_closed() -> None:
    """Open stdin, stdout and stderr if the process was started without them.

    Otherwise the next file that it opens would take the descriptor of stdout, and what
    libraries print would end up in that file. Messages are discarded; data can't be
    written, which is reported as for a full disk.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest free number
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)


def stderr() -> TextIO:
    """Return the stream for messages."""
    return _real_streams.get(2, sys.stderr)


def stdout() -> TextIO:
    """Return the stream for data."""
    return _real_streams.get(1, sys.stdout)


def print_data(*parts: str | Styled, indent: int = 0) -> None:
    """Print a line of data. Raises `BrokenOutputError`, `OutputError`."""
    with _stdout_writer() as stream:
        stream.write(_line(parts, stream, indent))


def print_text(text: str) -> None:
    """Print lines of text. Raises `BrokenOutputError`, `OutputError`."""
    with _stdout_writer() as stream:
        stream.write(printable(text, keep="\n\t"))


def print_results(chunks: Iterable[bytes]) -> None:
    """Print lines of JSON: as they are to a file or pipe, escaped on a terminal.

    Raises `BrokenOutputError`, `OutputError`.
    """
    from batchchat.jobs.requests.line_reader import split_lines

    is_terminal = stdout().isatty()
    for chunk in split_lines(chunks) if is_terminal else chunks:
        with _stdout_writer() as stream:
            if is_terminal:
                stream.write(printable_json(chunk.decode(errors="replace")))
            else:
                stream.buffer.write(chunk)


def print_json(value: Any) -> None:
    """Print data as one line of JSON. Raises `BrokenOutputError`, `OutputError`."""
    from batchchat.jobs.json_lines import encode

    print_encoded(encode(value))


def print_encoded(json: bytes, end: str = "\n") -> None:
    """Print encoded JSON. Raises `BrokenOutputError`, `OutputError`."""
    with _stdout_writer() as stream:
        stream.write(printable_json(json.decode(errors="replace")) + end)


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
            hint="redirect stdout to another place, such as a file on another disk",
        ) from None


def _discard_buffer(stream: TextIO) -> None:
    """Drop what can't be written, so that Python does not report it again at exit."""
    saved = os.dup(stream.fileno())
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
    with suppress(OSError):
        stream.flush()
    os.dup2(saved, stream.fileno())
    os.close(saved)


def info(*parts: str | Styled, indent: int = 0) -> None:
    """Print a line to stderr; `indent` is that of the lines it is broken into.

    A stderr that is closed or full must not stop the work.
    """
    stream = stderr()
    try:
        stream.write(_line(parts, stream, indent))
        stream.flush()
    except OSError:
        _discard_buffer(stream)


def ask(question: str) -> None:
    """Print a question to stderr, and leave the cursor behind it."""
    stderr().write(printable(question))
    stderr().flush()


def hint(text: str | None) -> None:
    """Print what to do next, if there is anything to do."""
    if text:
        info()
        info(Styled("hint:", "cyan"), f" {text}", indent=_HANG)


def warn(text: str) -> None:
    """Print something that does not stop the command but may surprise the user."""
    info(Styled("warning:", "yellow"), f" {text}", indent=_HANG)


def print_error(error: BatchchatError) -> None:
    """Print what went wrong, and how to fix it."""
    info(Styled("error:", "red"), f" {error.message}", indent=_HANG)
    hint(error.hint)


def stderr_is_terminal() -> bool:
    """Return whether messages go to a terminal that can rewrite a line."""
    return _is_smart_terminal(stderr())


def stdout_width() -> int | None:
    """Return the width of the terminal that data goes to, None if it goes elsewhere."""
    return _width(stdout())


def _width(stream: TextIO) -> int | None:
    """Return the width of a terminal; None if the stream is none, or tells no width."""
    if not stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    with suppress(OSError):
        return os.get_terminal_size(stream.fileno()).columns or None
    return None


def _is_smart_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _line(parts: Iterable[str | Styled], stream: TextIO, indent: int) -> str:
    """Return a line whose only control characters are its own colors and breaks."""
    styled = [Styled(part, "") if isinstance(part, str) else part for part in parts]
    styled = [Styled(printable(text), color) for text, color in styled]
    width = _width(stream)
    if width is not None:
        styled = list(_broken(styled, width, indent))
    has_colors = _is_smart_terminal(stream) and not os.environ.get("NO_COLOR")
    return (
        "".join(
            f"\x1b[{_COLORS[color]}m{text}\x1b[0m" if has_colors and color else text
            for text, color in styled
        )
        + "\n"
    )


def _broken(parts: Iterable[Styled], width: int, indent: int) -> Iterator[Styled]:
    """Yield the parts of a line with line breaks, so that it fits `width` cells."""
    parts = list(parts)
    breaks = line_breaks("".join(part.text for part in parts), width, indent)
    start = 0
    for text, color in parts:
        characters = enumerate(text, start)
        start += len(text)
        yield Styled("".join(breaks.get(at, it) for at, it in characters), color)


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
