"""Check a local or S3 file in the way that the planner checks a batch's input."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from batchchat.cli.backends.session import Session
from batchchat.cli.terminal import streams
from batchchat.cli.terminal.input_file import open_input
from batchchat.cli.terminal.paths import expand_user
from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.planning.planner import check_input, plan_limits
from batchchat.jobs.planning.scanner import Scan
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.requests.parser import Parser
from batchchat.jobs.storage.protocol import CHUNK_BYTES


def check_file(
    session: Session, file: str, model: str | None, on_invalid: str | None
) -> Scan:
    """Return the problems of a file for a batch with the option `on_invalid`.

    Raises:
        InputFileError: the file can't be read.
        ModelNotFoundError: there is no such `model`.

    """
    if model is not None:
        session.catalog.find(model)
    with opened(file) as (read, _):
        return check_text(session, read, model, on_invalid)


def validate_command(file: str, model: str | None, on_invalid: str | None) -> str:
    """Return the command that checks a file, ready to be pasted into a shell."""
    words = ["batchchat", "validate", file]
    words += ["--model", model] if model else []
    words += ["--on-invalid", on_invalid] if on_invalid else []
    return shlex.join(words)


def check_text(
    session: Session,
    read: Callable[[], Iterator[bytes]],
    model: str | None,
    on_invalid: str | None = None,
    *,
    every_prompt: bool = True,
) -> Scan:
    """Return the problems of a file that `read` opens."""
    renderers = session.renderers
    found, known = check_input(
        read,
        Parser(model, names=session.catalog.names),
        renderers,
        plan_limits(session.settings),
        on_invalid=on_invalid or session.settings.on_invalid,
        every_prompt=every_prompt,
    )
    if every_prompt and known is not None:
        _warn_of_missing_files(known, renderers.get_if_local(known))
    return found


def _warn_of_missing_files(model: Model, renderer: PromptRenderer | None) -> None:
    """Report what cannot be checked here, because the model's files are missing."""
    if renderer is not None and renderer.encode is not None:
        return
    what = "prompts" if renderer is None else "lengths of the prompts"
    streams.warn(
        f"the {what} are not checked, because files of `{model.name}` are not available"
    )


@contextmanager
def opened(file: str) -> Iterator[tuple[Callable[[], Iterator[bytes]], int | None]]:
    """Yield a function that reads the file from its beginning, as often as needed.

    Also yield the size of its text in bytes, None if it is unknown. Stdin and pipes can
    be read only once, so they are copied to a temporary file.
    """
    if file != "-" and _is_rereadable(expand_user(file)):
        with open_input(file) as input_file:
            size = input_file.text_size
        yield (lambda: _read(file)), size
        return
    with TemporaryFile() as copy:
        copy.writelines(_read(file))

        def read() -> Iterator[bytes]:
            copy.seek(0)
            return iter(lambda: copy.read(CHUNK_BYTES), b"")

        yield read, copy.tell()


def _is_rereadable(path: Path) -> bool:
    """Return whether it is no pipe; a missing file is reported when it is opened."""
    try:
        return path.is_file() or path.is_dir() or not path.exists()
    except OSError:
        return True


def _read(file: str) -> Iterator[bytes]:
    with open_input(file) as input_file:
        yield from input_file.chunks()
