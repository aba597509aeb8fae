"""One object of any bucket, read as a file: an input that lies in S3."""

import io
import re
from collections.abc import Generator
from typing import Any

from batchchat.jobs.errors import InputFileError, ObjectMissingError
from batchchat.jobs.storage.factory import checked_endpoint
from batchchat.jobs.storage.s3.client import s3_client
from batchchat.jobs.storage.s3.download import download, size_of
from batchchat.jobs.storage.s3.errors import translate_errors

_URL = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{2,62})/(.+)", re.DOTALL)


class S3Object(io.RawIOBase):
    """The bytes of an object, from its beginning or from where one seeks to.

    A connection that is cut is taken up where it was; an object that is replaced
    meanwhile is an error, never half of each.
    """

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        """Look whether it is there, and how many bytes it has.

        Raises:
            StorageError: it is not there, or can't be asked for.

        """
        self._client = client
        self._where = {"Bucket": bucket, "Key": key}
        self._place = f"s3://{bucket}/{key}"
        with translate_errors(self._place):
            self.size = size_of(client, self._where)
        self._at = 0
        self._fragments: Generator[bytes, None, None] | None = None
        self._rest = memoryview(b"")

    def readable(self) -> bool:  # noqa: D102 - as in `io`
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as what has come does. Raises `StorageError`."""
        if not self._rest:
            self._rest = memoryview(self._next())
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._at += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read on from there, by a request of its own."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset != self._at:
            self._stop()
            self._at = base + offset
        return self._at

    def close(self) -> None:
        """Give the connection back."""
        self._stop()
        super().close()

    def _next(self) -> bytes:
        if self._fragments is None:
            self._fragments = download(self._client, self._where, self._at, None)
        with translate_errors(self._place):
            return next(self._fragments, b"")

    def _stop(self) -> None:
        self._rest = memoryview(b"")
        if self._fragments is not None:
            self._fragments.close()
            self._fragments = None


def open_object(url: str, endpoint: str | None, *, path_style: bool | None) -> S3Object:
    """Return the object that `s3://bucket/key` names.

    Raises:
        InputFileError: the URL names none, or there is none.
        ConfigError: the endpoint is no URL, or boto3's settings are wrong.
        StorageError: the bucket can't be reached, or may not be read.

    """
    found = _URL.fullmatch(url)
    if not found:
        hint = "use `s3://bucket/folder/requests.jsonl`"
        raise InputFileError(f"`{url}` names no object", hint=hint)
    client = s3_client(checked_endpoint(endpoint), path_style=path_style)
    try:
        return S3Object(client, found[1], found[2])
    except ObjectMissingError:
        hint = "its name is case-sensitive; BATCHCHAT_S3_ENDPOINT names the server"
        raise InputFileError(f"no object `{url}`", hint=hint) from None
