"""Check a local or S3 file in the way that the planner checks a batch's input."""

from collections.abc import Iterator
from pathlib import Path

from batchchat.cli.backends.session import Session
from batchchat.cli.terminal.input_file import open_input
from batchchat.cli.terminal.paths import expand_user
from batchchat.jobs.errors import InputFileError
from batchchat.jobs.planning.planner import PromptLengthCheck, find_model, plan_limits
from batchchat.jobs.planning.scanner import Scan, scan
from batchchat.jobs.requests.parser import Parser


def check_file(session: Session, file: str, model: str | None) -> Scan:
    """Return the problems of a file.

    Raises:
        InputFileError: the file can't be read, or only once.
        ModelNotFoundError: there is no such `model`.

    """
    if model is not None:
        session.catalog.find(model)
    _require_rereadable(file)
    parser = Parser(model, names=session.catalog.names)
    lengths = PromptLengthCheck(parser, session.renderers)
    settings = session.settings
    found = scan(lambda: _read(file), parser, plan_limits(settings), check=lengths)
    find_model(parser, session.catalog, found)
    return found


def _require_rereadable(file: str) -> None:
    """Raise `InputFileError` for stdin and pipes, which can be read only once."""
    if file == "-" or not _is_rereadable(expand_user(file)):
        raise InputFileError(
            f"can't check `{file}`: stdin and pipes can be read only once, but checking"
            " reads the input twice",
            hint="save it to a file first",
        )


def _is_rereadable(path: Path) -> bool:
    """Return whether it is no pipe; a missing file is reported when it is opened."""
    try:
        return path.is_file() or path.is_dir() or not path.exists()
    except OSError:
        return True


def _read(file: str) -> Iterator[bytes]:
    with open_input(file) as input_file:
        yield from input_file.chunks()
