"""Streams uploads into the storage, atomically and in bounded memory."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass, field

from anyio import CancelScope, fail_after, to_thread
from fastapi import Request

from batchchat.api.http.content_encoding import decoded
from batchchat.api.http.errors import ApiError
from batchchat.api.http.upload_form import UploadForm
from batchchat.jobs.errors import InputFileError, InputTooLargeError
from batchchat.jobs.ids import new_file_id
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import File
from batchchat.jobs.ledger.stored_files import publish_file, store_file
from batchchat.jobs.requests.decompression import compression_of, plain_name
from batchchat.jobs.requests.input_format import HEAD_BYTES, check_upload, plain_upload
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage.protocol import CHUNK_BYTES, Writer

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")

_MIN_BYTES_PER_SECOND = 1_024
"""Minimum average rate of an upload, enforced after the idle timeout."""

_MIN_EXPIRY_SECONDS, _MAX_EXPIRY_SECONDS = 3_600, 2_592_000
"""OpenAI's bounds for `expires_after[seconds]`."""


async def receive_file(request: Request, ledger: Ledger, settings: Settings) -> File:
    """Store an uploaded file and return its record; a failed upload leaves nothing.

    Raises:
        ApiError: the form is invalid, too large or too slow.

    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > settings.max_file_bytes + CHUNK_BYTES:
        raise _too_large(settings.max_file_bytes)
    form = UploadForm(request.headers.get("content-type", ""))
    file_id, created_at = new_file_id(), ledger.now()
    content = _FileContent(
        ledger.storage.writer(ledger.keys.content(file_id)), settings.max_file_bytes
    )
    body = _timed_body(request, settings.upload_idle_timeout_seconds)
    limit = settings.max_file_bytes + CHUNK_BYTES
    async with _OpenContent(content):
        async for data in decoded(request, body, limit):
            for chunk in form.feed(data):
                await content.append(chunk)
            _purpose(form, required=False)
        if not form.is_complete:
            raise ApiError(
                400, "The multipart form is incomplete.", code="invalid_form"
            )
        if form.filename is None:
            message = "Missing required parameter: 'file'."
            raise ApiError(400, message, param="file", code=_MISSING_PARAMETER)
        lifetime = _expiry_seconds(form)
        purpose = _purpose(form, required=True)
        if purpose == "batch":
            with _as_api_error():
                check_upload(content.head, form.filename)
        file = File(
            id=file_id,
            bytes=content.size,
            created_at=created_at,
            filename=form.filename,
            purpose=purpose,
            expires_at=created_at + lifetime if lifetime else None,
            lines=content.lines(),
        )
    if purpose == "batch" and compression_of(content.head):
        limit = settings.max_file_bytes
        return await to_thread.run_sync(_store_decompressed, ledger, file, limit)
    await to_thread.run_sync(publish_file, ledger, file)
    return file


def _store_decompressed(ledger: Ledger, file: File, max_bytes: int) -> File:
    """Store the text of a compressed upload in its place; return its record.

    Batches are divided into byte ranges, which compressed files don't have. If the
    process is killed, the upload stays invisible and is deleted as an orphan.
    """
    key = ledger.keys.content(file.id)
    try:
        with _as_api_error():
            stored = ledger.storage.stream(key)
            return store_file(
                ledger,
                plain_upload(stored, file.filename, max_bytes),
                plain_name(file.filename),
                file.purpose,
                expires_at=file.expires_at,
            )
    finally:
        ledger.storage.delete(key)


@contextmanager
def _as_api_error() -> Iterator[None]:
    """Translate what is wrong with the format of a file, and what to do about it."""
    try:
        yield
    except InputFileError as error:
        message = f"{error.message}: {error.hint}." if error.hint else error.message
        status = 413 if isinstance(error, InputTooLargeError) else 400
        raise ApiError(status, message, param="file", code=error.code) from None


_MISSING_PARAMETER = "missing_required_parameter"


@dataclass
class _FileContent:
    """Buffers the content of a file and writes it to the storage."""

    writer: AbstractContextManager[Writer]
    max_bytes: int
    size: int = 0
    _newlines: int = 0
    _last_byte: bytes = b"\n"
    _buffer: list[bytes] = field(default_factory=list)
    _buffered: int = 0
    _open_writer: Writer | None = None
    head: bytes = b""
    """The first bytes, enough to recognize the format."""

    async def append(self, chunk: bytes) -> None:
        """Append a chunk. Raises `ApiError` if the file exceeds the size limit."""
        self.size += len(chunk)
        if self.size > self.max_bytes:
            raise _too_large(self.max_bytes)
        if len(self.head) < HEAD_BYTES:
            self.head += chunk
        self._buffer.append(chunk)
        self._buffered += len(chunk)
        if self._buffered >= CHUNK_BYTES:
            await to_thread.run_sync(self.flush)

    def open(self) -> None:
        """Start writing the object."""
        self._open_writer = self.writer.__enter__()

    def flush(self) -> None:
        """Write the buffer to the storage."""
        data = b"".join(self._buffer)
        self._buffer.clear()
        self._buffered = 0
        if self._open_writer is not None and data:
            self._open_writer.write(data)
            self._newlines += data.count(b"\n")
            self._last_byte = data[-1:]

    def close(self, error: BaseException | None) -> None:
        """Publish the object, or discard it if there was an error."""
        if error is None:
            self.flush()
            self.writer.__exit__(None, None, None)
        else:
            self.writer.__exit__(type(error), error, error.__traceback__)

    def lines(self) -> int:
        """Return the number of lines, counting a last line without a line feed."""
        rest = b"".join(self._buffer)
        last = (self._last_byte + rest)[-1:]
        return self._newlines + rest.count(b"\n") + (last != b"\n")


class _OpenContent:
    """Opens and closes the content in threads, even after the request is cancelled."""

    def __init__(self, content: _FileContent) -> None:
        self._content = content

    async def __aenter__(self) -> None:
        await to_thread.run_sync(self._content.open)

    async def __aexit__(self, *raised: object) -> None:
        error = raised[1] if isinstance(raised[1], BaseException) else None
        with CancelScope(shield=True):
            await to_thread.run_sync(self._content.close, error)


async def _timed_body(request: Request, pause: float) -> AsyncIterator[bytes]:
    """Yield the body as it arrives. Raises `ApiError` (408) if it is too slow."""
    began, received = time.monotonic(), 0
    async with aclosing(request.stream()) as stream:
        while True:
            try:
                with fail_after(pause):
                    data = await anext(stream, None)
            except TimeoutError:
                raise _too_slow() from None
            if data is None:
                return
            received += len(data)
            if received < (time.monotonic() - began - pause) * _MIN_BYTES_PER_SECOND:
                raise _too_slow()
            yield data


def _purpose(form: UploadForm, *, required: bool) -> str:
    purpose = form.fields.get("purpose")
    if purpose is None and not required:
        return ""
    if purpose is None:
        message = "Missing required parameter: 'purpose'."
        raise ApiError(400, message, param="purpose", code=_MISSING_PARAMETER)
    if purpose not in PURPOSES:
        known = ", ".join(f"'{one}'" for one in PURPOSES)
        message = f"Invalid value: '{purpose[:80]}'. Supported values are: {known}."
        raise ApiError(400, message, param="purpose", code="invalid_value")
    return purpose


def _expiry_seconds(form: UploadForm) -> int | None:
    """Return the seconds after which the file expires, or None."""
    anchor = form.fields.get("expires_after[anchor]")
    seconds = form.fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        message = "Invalid value for 'expires_after[anchor]': it must be 'created_at'."
        param = "expires_after[anchor]"
        raise ApiError(400, message, param=param, code="invalid_value")
    seconds_text = seconds or ""
    right = (
        seconds_text.isascii()
        and seconds_text.isdigit()
        and len(seconds_text) < len("10000000")
    )
    if not right or not _MIN_EXPIRY_SECONDS <= int(seconds_text) <= _MAX_EXPIRY_SECONDS:
        message = "Invalid value for 'expires_after[seconds]': it must be an integer"
        message += f" from {_MIN_EXPIRY_SECONDS} to {_MAX_EXPIRY_SECONDS}."
        param = "expires_after[seconds]"
        raise ApiError(400, message, param=param, code="invalid_value")
    return int(seconds_text)


def _too_large(max_bytes: int) -> ApiError:
    message = f"The file exceeds this server's limit of {max_bytes:,} bytes."
    return ApiError(413, message, param="file", code="file_too_large")


def _too_slow() -> ApiError:
    message = "The upload was too slow and was discarded. Upload the file again."
    return ApiError(408, message, code="request_timeout", headers={**_CLOSE_CONNECTION})


_CLOSE_CONNECTION = {"connection": "close"}
