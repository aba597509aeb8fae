"""Checks a file where it lies."""

from collections.abc import Iterator
from pathlib import Path

from batchchat.cli.backends.session import Session
from batchchat.cli.terminal.input_file import chunks, open_input
from batchchat.cli.terminal.paths import expanded
from batchchat.jobs.errors import InputFileError
from batchchat.jobs.planning.planner import PromptLengths, limits, model_of
from batchchat.jobs.planning.scanner import Scan, scan
from batchchat.jobs.requests.parser import Parser


def check_file(session: Session, file: str, model: str | None) -> Scan:
    """Return what is wrong with a file, as the planner would find it.

    Raises:
        InputFileError: it can't be read.
        ModelNotFoundError: there is no such `model`.

    """
    if model is not None:
        session.catalog.find(model)
    path = seekable(file)
    parser = Parser(model)
    lengths = PromptLengths(parser, session.renderers)
    settings = session.settings
    found = scan(lambda: _read(path), parser, limits(settings), check=lengths)
    model_of(parser, session.catalog, found)
    return found


def seekable(file: str) -> str:
    """Return the path of a file that can be read twice.

    Raises:
        InputFileError: it is stdin or a pipe, and can't.

    """
    if file == "-" or not _is_plain(expanded(file)):
        raise InputFileError(
            f"`{file}` can be read only once, and checking reads it twice",
            hint="write it to a file first",
        )
    return file


def _is_plain(path: Path) -> bool:
    """Say whether it is a file or a folder, or nothing that can be looked at."""
    try:
        return path.is_file() or path.is_dir() or not path.exists()
    except OSError:
        return True


def _read(file: str) -> Iterator[bytes]:
    with open_input(file) as stream:
        yield from chunks(stream, file)
