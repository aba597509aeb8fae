"""Opens what a user names as the input."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cli.paths import expanded, printable
from jobs.errors import InputFileError, OutputError
from jobs.export import places_of
from jobs.storage.base import CHUNK
from jobs.url import is_url


@dataclass(frozen=True)
class Input:
    """An open input; `file` is how the user names it, `size` None for a pipe's."""

    file: str
    stream: BinaryIO
    size: int | None

    @property
    def name(self) -> str:
        """What the file is called once it is stored."""
        return "stdin" if self.file == "-" else printable(Path(self.file).name)

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes in pieces. Raises `InputFileError`."""
        return chunks(self.stream, self.file)

    def rewind(self) -> bool:
        """Go back to where it began; say whether that can be done."""
        if self.size is not None:
            self.stream.seek(0)
        return self.size is not None


def input_of(file: str, stream: BinaryIO) -> Input:
    """Return the open `stream` as an input.

    A file that is read from its middle, as stdin may be, is taken for a pipe.
    """
    size = None
    with suppress(OSError):
        found = os.fstat(stream.fileno())
        if stat.S_ISREG(found.st_mode) and stream.tell() == 0:
            size = found.st_size
    return Input(file, stream, size)


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
        if is_url(file):
            hint = "pipe it in, as in `aws s3 cp s3://… - | batchchat submit -`"
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
