"""Uploads of any size in bounded memory, and markers that identify a write."""

from contextlib import suppress
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from batchchat.jobs.storage.s3.errors import error_code, translate_errors

PART_BYTES = 16 * 1024 * 1024
"""Size of a part. S3 accepts 10,000 parts, so an object has at most 160 GB. All parts
but the last have the same size, as some servers require."""

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


class Upload:
    """Writes an object; holds up to two parts in memory.

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
        while len(self._buffer) > PART_BYTES:
            with translate_errors(self._place):
                self._send(self._buffer[:PART_BYTES])
            del self._buffer[:PART_BYTES]

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
        sent = self._client.upload_part(
            **self._where, UploadId=self._id, PartNumber=number, Body=part
        )
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number})

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
