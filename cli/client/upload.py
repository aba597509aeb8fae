"""Sends a file to the server: whole, in bounded memory, again where it was cut."""

import secrets
from collections.abc import Iterable, Iterator

import msgspec

from batchchat.cli.client.http_client import Server
from batchchat.cli.client.transfer_progress import Transfer
from batchchat.cli.terminal.input_file import Input
from batchchat.jobs.errors import InputFileError, ServerError

_PARTS = (
    "--{0}\r\n"
    'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    "--{0}\r\n"
    'Content-Disposition: form-data; name="file"; filename="{1}"\r\n'
    "Content-Type: application/jsonl\r\n\r\n"
)
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


class _File(msgspec.Struct):
    id: str


def upload(server: Server, file: Input, *, shown: bool) -> str:
    """Return the id of the stored file; nobody sees it before it is whole.

    Raises:
        InputFileError: it can't be read, changes meanwhile, or is too large.
        ServerError: the server can't be reached for long, or a pipe was cut off.

    """

    def send() -> str:
        file.rewind()
        transfer = Transfer("uploading", file.size)
        with transfer.display(shown=shown):
            return _send(server, file, transfer)

    if file.size is not None:
        return server.insist(send)
    try:
        return send()
    except ServerError as error:
        error.hint = "write it to a file first, which is sent again if it must be"
        raise


def _send(server: Server, file: Input, transfer: Transfer) -> str:
    boundary = secrets.token_hex(16)
    head = _PARTS.format(boundary, file.name.translate(_ESCAPES)).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    if file.size is not None:
        headers["content-length"] = str(len(head) + file.size + len(tail))

    def body() -> Iterator[bytes]:
        yield head
        yield from transfer.counted(_checked(file))
        yield tail

    with server.stream(
        "POST", "files", headers=headers, content=body(), slow=True
    ) as answer:
        return msgspec.json.decode(answer.read(), type=_File).id


def _checked(file: Input) -> Iterable[bytes]:
    """Yield the file's bytes, as many as it had. Raises `InputFileError`."""
    read = 0
    for chunk in file.chunks():
        read += len(chunk)
        if file.size is not None and read > file.size:
            break
        yield chunk
    if file.size not in {None, read}:
        raise InputFileError(
            f"`{file.file}` changed while it was read, so nothing was submitted",
            hint="submit it when nobody writes to it",
        )
