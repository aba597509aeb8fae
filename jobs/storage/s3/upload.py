"""Uploads of any size in bounded memory, and markers that identify a write."""

from contextlib import suppress
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from batchchat.jobs.errors import StorageError
from batchchat.jobs.storage.s3.download import checked_response
from batchchat.jobs.storage.s3.errors import error_code, translate_errors

PART_BYTES = 16 * 1024 * 1024
"""Size of each of the first parts. They are equal, as some servers require."""

_EQUAL_PARTS = 1_000
"""Parts of that size. An object of up to 16 GiB has no other parts but its last one."""

_PARTS_PER_STEP = 125
"""After the equal parts, each group of this many parts is larger by `PART_BYTES`.
So 10,000 parts hold over 5 TiB, the largest object of AWS."""

_MAX_PARTS = 10_000
_MAX_SENDS = 6
"""How often a part is sent if the response to it was cut."""

_METADATA_KEY = "batchchat-write"


class WriteMarker:
    """Metadata that identifies the call which wrote an object.

    If the response to a write is lost, it tells whether the write succeeded.
    """

    def __init__(self) -> None:
        """Create a unique marker."""
        self._value = uuid4().hex
        self.metadata = {_METADATA_KEY: self._value}

    def matches(self, client: Any, where: dict[str, str]) -> bool:
        """Return whether the stored object has this marker."""
        try:
            found = client.head_object(**where)["Metadata"]
        except ClientError as error:
            if error_code(error) in {"404", "NoSuchKey"}:
                return False
            raise
        return self._value in found.values()


def part_bytes(number: int) -> int:
    """Return the size in bytes of part `number`, counted from 1."""
    beyond = max(0, number - 1 - _EQUAL_PARTS + _PARTS_PER_STEP)
    return PART_BYTES * (1 + beyond // _PARTS_PER_STEP)


class Upload:
    """Writes an object of up to 5 TiB; holds up to two parts in memory.

    A small object is put at the end. A larger one is sent in parts, and appears when
    the upload is finished. All errors are raised as `StorageError`.
    """

    def __init__(self, client: Any, where: dict[str, str], place: str) -> None:
        """Prepare; nothing is sent yet."""
        self._client = client
        self._where = where
        self._place = place
        self._marker = WriteMarker()
        self._buffer = bytearray()
        self._id: str | None = None
        self._parts: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self._buffer += data
        while len(self._buffer) > (size := part_bytes(len(self._parts) + 1)):
            with translate_errors(self._place):
                self._send(self._buffer[:size])
            del self._buffer[:size]

    def finish(self) -> None:
        """Make the object appear."""
        with translate_errors(self._place):
            if self._id is None:
                self._client.put_object(**self._where, Body=self._buffer)
            else:
                self._send(self._buffer)
                self._complete()

    def abort(self) -> None:
        """Remove the uploaded parts, if the server is reachable."""
        if self._id is not None:
            with suppress(BotoCoreError, ClientError):
                self._client.abort_multipart_upload(**self._where, UploadId=self._id)

    def _send(self, part: bytearray) -> None:
        if self._id is None:
            begun = self._client.create_multipart_upload(
                **self._where, Metadata=self._marker.metadata
            )
            self._id = begun["UploadId"]
        number = len(self._parts) + 1
        if number > _MAX_PARTS:
            failure = StorageError(
                f"{self._place} is too large: an object has up to 5 TiB"
            )
            failure.retryable = False
            raise failure
        etag = self._send_part(number, part)
        self._parts.append({"ETag": etag, "PartNumber": number})

    def _send_part(self, number: int, part: bytearray) -> str:
        """Send a part and return its ETag; send it again if the response was cut."""
        for _ in range(_MAX_SENDS):
            sent = self._client.upload_part(
                **self._where, UploadId=self._id, PartNumber=number, Body=part
            )
            with suppress(HTTPError):
                if etag := checked_response(sent).get("ETag"):
                    return str(etag)
        raise HTTPError("the connection was cut within the response headers")

    def _complete(self) -> None:
        """Join the parts.

        If the upload no longer exists, an earlier attempt may have completed it.
        """
        parts = {"Parts": self._parts}
        try:
            self._client.complete_multipart_upload(
                **self._where, UploadId=self._id, MultipartUpload=parts
            )
        except ClientError as error:
            done = error_code(error) == "NoSuchUpload"
            if not (done and self._marker.matches(self._client, self._where)):
                raise
