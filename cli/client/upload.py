"""Upload a file to the server: streamed, and sent again if the connection breaks."""

import io
import os
from typing import BinaryIO, cast

import msgspec

from batchchat.cli.client.http_client import ServerClient
from batchchat.cli.client.transfer_progress import Transfer
from batchchat.cli.terminal.input_file import InputFile
from batchchat.jobs.errors import InputFileError, ServerError


class _StoredFile(msgspec.Struct):
    id: str


def upload(server: ServerClient, file: InputFile, *, show_progress: bool) -> str:
    """Return the id of the stored file; the server shows it only once it is complete.

    Raises:
        InputFileError: the file can't be read, changes meanwhile, or is too large.
        ServerError: the server stays unavailable, or the upload of a pipe failed.

    """

    def send() -> str:
        transfer = Transfer("uploading", file.size)
        with transfer.display(show_progress=show_progress):
            return _send(server, file, transfer)

    if file.size is not None:
        return server.retry_while_unavailable(send)
    try:
        return send()
    except ServerError as error:
        error.hint = "save the input to a file; unlike a pipe, it can be sent again"
        raise


def _send(server: ServerClient, file: InputFile, transfer: Transfer) -> str:
    reader = cast("BinaryIO", UploadReader(file, transfer))
    with server.stream(
        "POST",
        "files",
        data={"purpose": "batch"},
        files={"file": (file.name, reader, "application/jsonl")},
        is_slow=True,
    ) as response:
        return msgspec.json.decode(response.read(), type=_StoredFile).id


class UploadReader:
    """The file object that httpx reads: counts bytes, and detects a changing file.

    httpx sends a content length if it can seek, and chunks otherwise.
    """

    def __init__(self, file: InputFile, transfer: Transfer) -> None:
        """Read from `file`, and report to `transfer`."""
        self._file = file
        self._transfer = transfer
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes. Raises `InputFileError`."""
        chunk = self._file.read(size)
        self._position += len(chunk)
        expected = self._file.size
        is_at_end = not chunk and size != 0
        if expected is not None and (
            self._position > expected or (is_at_end and self._position < expected)
        ):
            raise InputFileError(
                f"`{self._file.source}` changed during the upload;"
                " nothing was submitted",
                hint="submit it again when no program is writing to it",
            )
        self._transfer.add(len(chunk))
        return chunk

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position. Raises `io.UnsupportedOperation` for a pipe."""
        if self._file.size is None:
            raise io.UnsupportedOperation("a pipe can't seek")
        self._position = self._file.stream.seek(offset, whence)
        return self._position
