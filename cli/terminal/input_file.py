"""Open the input that a user names: a file, an S3 object, or stdin."""

import os
import shlex
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Self, cast

from batchchat.cli.terminal.paths import expand_user, valid_utf8
from batchchat.jobs.errors import InputFileError, OutputError
from batchchat.jobs.requests.decompression import compression_of
from batchchat.jobs.requests.input_format import HEAD_BYTES, check_format, plain_lines
from batchchat.jobs.results.export import output_paths
from batchchat.jobs.storage.protocol import CHUNK_BYTES
from batchchat.jobs.storage.urls import is_url


@dataclass(frozen=True)
class InputFile:
    """An open input; `source` is what the user typed, `size` in bytes, None if unknown.

    A file whose reading starts in the middle, as stdin may, counts as a pipe: its size
    is unknown, and it can be read only once.
    """

    source: str
    stream: BinaryIO
    size: int | None
    has_rows: bool = False
    """Whether it is a Parquet file of rows, and not one of requests."""

    @classmethod
    def of(cls, source: str, stream: BinaryIO) -> Self:
        """Return the open `stream` with its size."""
        return cls(source, stream, _size(source, stream))

    @property
    def name(self) -> str:
        """The name under which the file is stored."""
        return "stdin" if self.source == "-" else valid_utf8(Path(self.source).name)

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        """Return the next bytes, b"" at the end. Raises `InputFileError`."""
        try:
            return self.stream.read(size)
        except OSError as error:
            raise _unreadable(self.source, error) from None

    def chunks(self) -> Iterator[bytes]:
        """Yield the file in chunks; requests are decompressed if necessary.

        Raises:
            InputFileError: the file can't be read, or is to have requests and has
                another format than JSONL.

        """
        from batchchat.jobs.settings import load_settings

        chunks = iter(self.read, b"")
        if self.has_rows:
            return chunks
        return plain_lines(chunks, self.source, load_settings().max_file_bytes)

    def require_model(self) -> None:
        """Check that a request names a model, unless the file can be read only once.

        Raises:
            InputFileError: the file can't be read, or has another format than JSONL.
            UsageError: no request names a model.

        """
        from batchchat.jobs.requests.named_model import ModelSearch
        from batchchat.jobs.settings import load_settings

        if self.size is None:
            return
        search = ModelSearch(load_settings().max_line_bytes)
        for _ in search.require(self.chunks()):
            if search.may_have_model:
                break
        self.stream.seek(0)

    @property
    def text_size(self) -> int | None:
        """The size of the text in bytes; None if it is compressed or unknown."""
        return None if compression_of(self._peek()) else self.size

    def check_format(self) -> None:
        """Raise `InputFileError` if a file of requests is not JSONL."""
        if not self.has_rows:
            check_format(self._peek(), self.source)

    def _peek(self) -> bytes:
        """Return the next bytes, but do not move on. Raises `InputFileError`."""
        try:
            return cast("BufferedReader", self.stream).peek(HEAD_BYTES)
        except OSError as error:
            raise _unreadable(self.source, error) from None


def _size(source: str, stream: BinaryIO) -> int | None:
    if _is_s3(source):
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        return size
    with suppress(OSError):
        found = os.fstat(stream.fileno())
        if stat.S_ISREG(found.st_mode) and stream.tell() == 0:
            return found.st_size
    return None


@contextmanager
def open_input(source: str) -> Iterator[InputFile]:
    """Open a file, an S3 object (`s3://bucket/key`), or stdin (`-`).

    Raises:
        InputFileError: the file does not exist or can't be read.
        StorageError: the bucket can't be reached or read.

    """
    if source == "-":
        yield InputFile.of(source, sys.stdin.buffer)
        return
    with open_source(source) as stream:
        yield InputFile.of(source, stream)


def open_source(source: str) -> BinaryIO:
    """Open a file or an S3 object. Raises `InputFileError` and `StorageError`."""
    return _open_s3(source) if _is_s3(source) else _open_path(source)


def _open_path(source: str) -> BinaryIO:
    path = expand_user(source)
    try:
        return path.open("rb")
    except FileNotFoundError:
        hint = f"list the files with `ls {path.parent}`"
        if is_url(source):
            hint = "use a file path, `s3://bucket/key`, or `-` for stdin"
        raise InputFileError(f"no such file: `{source}`", hint=hint) from None
    except IsADirectoryError:
        message = f"`{source}` is a directory, expected a JSONL file"
        raise InputFileError(message, hint=f"choose one: `ls {source}`") from None
    except OSError as error:
        raise _unreadable(source, error) from None


def _open_s3(url: str) -> BinaryIO:
    from batchchat.jobs.settings import load_settings
    from batchchat.jobs.storage.s3.object import open_object  # boto3 is slow to import

    settings = load_settings()
    endpoint, path_style = settings.s3_endpoint, settings.s3_path_style
    return BufferedReader(
        open_object(url, endpoint, path_style=path_style), CHUNK_BYTES
    )


def _is_s3(source: str) -> bool:
    return source.startswith("s3://")


def _unreadable(name: str, error: OSError) -> InputFileError:
    message = f"can't read `{name}`: {error.strerror}"
    return InputFileError(message, hint=f"check it with `ls -l {shlex.quote(name)}`")


def refuse_to_overwrite(source: str, output: Path, formats: str) -> None:
    """Check that writing the results does not replace the input.

    Raises:
        OutputError: it would.

    """
    path = expand_user(source)
    for place in filter(None, output_paths(output, formats)):
        if source != "-" and path.exists() and place.exists() and path.samefile(place):
            raise OutputError(
                f"the results would overwrite the input file `{source}`",
                hint="choose another path with `--output`",
            )
