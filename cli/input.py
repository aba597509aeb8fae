"""Opens what a user names as the input."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cli.paths import expanded
from jobs.errors import InputFileError, OutputError
from jobs.export import places_of
from jobs.storage.base import CHUNK


@contextmanager
def open_input(file: str) -> Iterator[BinaryIO]:
    """Open a file, or stdin for `-`.

    Raises:
        InputFileError: there is no such file, or it can't be read.

    """
    if file == "-":
        yield sys.stdin.buffer
        return
    path = expanded(file)
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        hint = f"see what there is with `ls {path.parent}`"
        raise InputFileError(f"no file `{file}`", hint=hint) from None
    except IsADirectoryError:
        message = f"`{file}` is a folder, and a file of requests is wanted"
        raise InputFileError(message, hint=f"name one, as in `ls {file}`") from None
    except OSError as error:
        raise _unreadable(file, error) from None
    with stream:
        yield stream


def chunks(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the stream's bytes in pieces. Raises `InputFileError`."""
    try:
        while chunk := stream.read(CHUNK):
            yield chunk
    except OSError as error:
        raise _unreadable(name, error) from None


def _unreadable(name: str, error: OSError) -> InputFileError:
    message = f"can't read `{name}`: {error.strerror}"
    return InputFileError(message, hint=f"see what it is with `ls -l {name}`")


def refuse_to_overwrite(file: str, output: Path, formats: str) -> None:
    """See that the results will not replace the input.

    Raises:
        OutputError: they would.

    """
    path = expanded(file)
    for place in filter(None, places_of(output, formats)):
        if file != "-" and path.exists() and place.exists() and path.samefile(place):
            raise OutputError(
                f"the results would overwrite the input, `{file}`",
                hint="choose another place with `--output`",
            )
