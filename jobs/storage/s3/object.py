"""One object of any bucket as a readable file, for input files in S3."""

import io
import re
from collections.abc import Generator
from typing import Any

from typing_extensions import override

from batchchat.jobs.errors import InputFileError, ObjectMissingError
from batchchat.jobs.storage.factory import checked_endpoint
from batchchat.jobs.storage.s3.client import s3_client
from batchchat.jobs.storage.s3.download import download, size_of
from batchchat.jobs.storage.s3.errors import translate_errors

_URL = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{2,62})/(.+)", re.DOTALL)


class S3Object(io.RawIOBase):
    """A readable, seekable file with the bytes of an object.

    A cut connection is continued. If the object is replaced while it is read, that is
    an error, so that no reader gets parts of both.
    """

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        """Request the size of the object.

        Raises:
            StorageError: it does not exist, or the request failed.

        """
        self._client = client
        self._where = {"Bucket": bucket, "Key": key}
        self._place = f"s3://{bucket}/{key}"
        with translate_errors(self._place):
            self.size = size_of(client, self._where)
        self._at = 0
        self._fragments: Generator[bytes, None, None] | None = None
        self._rest = memoryview(b"")

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with the bytes that are available. Raises `StorageError`."""
        if not self._rest:
            self._rest = memoryview(self._next())
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._at += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Continue at another position, with a new request."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset != self._at:
            self._stop()
            self._at = base + offset
        return self._at

    def close(self) -> None:
        """Close the connection."""
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
        InputFileError: the URL is invalid, or the object does not exist.
        ConfigError: the endpoint or boto3's settings are invalid.
        StorageError: the bucket is unreachable, or reading it is not allowed.

    """
    found = _URL.fullmatch(url)
    if not found:
        hint = "use `s3://bucket/folder/requests.jsonl`"
        raise InputFileError(f"`{url}` does not name an object", hint=hint)
    client = s3_client(checked_endpoint(endpoint), path_style=path_style)
    try:
        return S3Object(client, found[1], found[2])
    except ObjectMissingError:
        hint = "check its name, which is case-sensitive, and BATCHCHAT_S3_ENDPOINT"
        raise InputFileError(f"there is no object `{url}`", hint=hint) from None
