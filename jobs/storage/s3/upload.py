"""Writing an object in bounded memory, and knowing one's own work again."""

from contextlib import suppress
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from batchchat.jobs.storage.s3.errors import error_code, translate_errors

PART_BYTES = 16 * 1024 * 1024
"""Bytes of a part. S3 takes 10,000 of them, so that an object has 160 GB at most; all
are of one size, as some servers want it."""

_METADATA_KEY = "batchchat-write"


class WriteMarker:
    """Marks an object as one call's, for when the answer to it gets lost."""

    def __init__(self) -> None:
        """Make one that nobody else has."""
        self._value = uuid4().hex
        self.metadata = {_METADATA_KEY: self._value}

    def matches(self, client: Any, where: dict[str, str]) -> bool:
        """Say whether the object there is the call's."""
        try:
            found = client.head_object(**where)["Metadata"]
        except ClientError as error:
            if error_code(error) in {"404", "NoSuchKey"}:
                return False
            raise
        return self._value in found.values()


class Upload:
    """Takes the bytes of an object; holds two parts in memory.

    What fits into one part is put at the end; more is sent part by part, and appears
    when the upload is finished. Errors of the storage are raised as ours.
    """

    def __init__(self, client: Any, where: dict[str, str], place: str) -> None:
        """Send nothing yet."""
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
        """Leave nothing behind, if the server can be reached."""
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
        """Join the parts; if that is unknown to the server, it may have been done."""
        parts = {"Parts": self._parts}
        try:
            self._client.complete_multipart_upload(
                **self._where, UploadId=self._id, MultipartUpload=parts
            )
        except ClientError as error:
            done = error_code(error) == "NoSuchUpload"
            if not (done and self._marker.matches(self._client, self._where)):
                raise
