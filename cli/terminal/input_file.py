"""Opens what a user names as the input."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from batchchat.cli.terminal.paths import expanded, printable
from batchchat.jobs.errors import InputFileError, OutputError
from batchchat.jobs.results.export import places_of
from batchchat.jobs.storage.protocol import CHUNK
from batchchat.jobs.storage.urls import is_url


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
    """Return the open `stream` as an input."""
    return Input(file, stream, _size(file, stream))


def _size(file: str, stream: BinaryIO) -> int | None:
    """Return how many bytes there are, None where nobody knows.

    A file that is read from its middle, as stdin may be, is taken for a pipe.
    """
    if _is_object(file):
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        return size
    with suppress(OSError):
        found = os.fstat(stream.fileno())
        if stat.S_ISREG(found.st_mode) and stream.tell() == 0:
            return found.st_size
    return None


@contextmanager
def open_input(file: str) -> Iterator[BinaryIO]:
    """Open a file, an object of S3 for `s3://bucket/key`, or stdin for `-`.

    Raises:
        InputFileError: there is no such file, or it can't be read.
        StorageError: the bucket can't be reached, or may not be read.

    """
    if file == "-":
        yield sys.stdin.buffer
        return
    if _is_object(file):
        with _opened_object(file) as stream:
            yield stream
        return
    path = expanded(file)
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        hint = f"see what there is with `ls {path.parent}`"
        if is_url(file):
            hint = "use a path, or `s3://bucket/key`"
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


def _is_object(file: str) -> bool:
    return file.startswith("s3://")


def _opened_object(url: str) -> BinaryIO:
    from batchchat.jobs.settings import load_settings
    from batchchat.jobs.storage.s3.object import open_object  # boto3 takes its time

    settings = load_settings()
    endpoint, path_style = settings.s3_endpoint, settings.s3_path_style
    return BufferedReader(open_object(url, endpoint, path_style=path_style), CHUNK)


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
