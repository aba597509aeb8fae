"""A storage in a bucket, on AWS or any S3-compatible server."""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from batchchat.jobs.errors import ObjectMissingError, StorageError
from batchchat.jobs.storage.protocol import Entry, Storage, checked_key, is_between
from batchchat.jobs.storage.s3.client import s3_client
from batchchat.jobs.storage.s3.deletion import MAX_DELETED, delete_objects
from batchchat.jobs.storage.s3.download import (
    checked_response,
    download,
    rechunked,
    size_of,
)
from batchchat.jobs.storage.s3.errors import error_code, translate_errors
from batchchat.jobs.storage.s3.upload import Upload, WriteMarker

_CONCURRENT_DELETES = 16
_CONFLICT_WAIT_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)


class S3Storage(Storage):
    """Stores its objects below a prefix of one bucket. Thread-safe.

    `create` is a conditional put. It is atomic on AWS and Ceph. OpenStack Swift checks
    first and writes afterwards, so all of several racing creates may succeed, and the
    last one's bytes remain. That is why `final.json` pins the results that count.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        path_style: bool | None = None,
    ) -> None:
        """Use an existing bucket; boto3 finds the credentials in its usual places.

        Without an `endpoint` the bucket is on AWS. `path_style` puts its name into the
        path of URLs rather than the host; None does so if there is an endpoint.
        """
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._prefix = f"{checked_key(prefix)}/" if prefix else ""
        self._client = s3_client(endpoint, path_style=path_style)

    def create(self, key: str, data: bytes) -> bool:
        """Write the object unless it exists; return whether this call wrote it.

        If the response to a put is lost, boto3 or a proxy sends it again, and the
        second put is rejected because the first one succeeded. So a rejection counts
        only if the object does not have this call's marker. Comparing the bytes would
        not be enough: another caller may have written the same ones.
        """
        marker = WriteMarker()
        where = self._where(key)
        with self._translate_errors(key):
            try:
                self._put_if_absent(where, data, marker)
            except ClientError as error:
                if error_code(error) not in {"PreconditionFailed", "412"}:
                    raise
                return marker.matches(self._client, where)
        return True

    @override
    def put(self, key: str, data: bytes) -> None:
        where = self._where(key)
        with self._translate_errors(key):
            self._client.put_object(**where, Body=data)

    @override
    @contextmanager
    def writer(self, key: str) -> Iterator[Upload]:
        upload = Upload(self._client, self._where(key), self._place(key))
        try:
            yield upload
            upload.finish()
        except BaseException:
            upload.abort()
            raise

    @override
    def get(self, key: str) -> bytes:
        return b"".join(self._fragments(key))

    @override
    def read(self, key: str, offset: int, length: int) -> bytes:
        if length <= 0:  # HTTP has no empty ranges
            self.size(key)
            return b""
        return b"".join(self._fragments(key, offset, offset + length))

    @override
    def stream(self, key: str) -> Iterator[bytes]:
        return rechunked(self._fragments(key))

    @override
    def size(self, key: str) -> int:
        where = self._where(key)
        with self._translate_errors(key):
            return size_of(self._client, where)

    @override
    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        after = {"StartAfter": self._prefix + start_after} if start_after else {}
        for page in self._pages(prefix, **after):
            for item in page.get("Contents", ()):
                if not item["Key"].endswith(
                    "/"
                ):  # a folder that a web console has created
                    yield Entry(item["Key"][len(self._prefix) :], item["Size"])

    @override
    def folders(self, prefix: str, after: str = "", before: str = "") -> Iterator[str]:
        top = f"{checked_key(prefix)}/"
        names: set[str] = set()
        start = {"StartAfter": f"{self._prefix}{top}{after}"} if after else {}
        for page in self._pages(top, Delimiter="/", **start):
            found = [item["Prefix"] for item in page.get("CommonPrefixes", ())]
            found += [item["Key"] for item in page.get("Contents", ())]
            here = {name[len(self._prefix + top) :].rstrip("/") for name in found}
            names |= {name for name in here if is_between(name, after, before)}
            if before and here and max(here) >= before:
                break
        yield from sorted(names)

    @override
    def delete(self, key: str) -> None:
        where = self._where(key)
        with suppress(ObjectMissingError), self._translate_errors(key):
            self._client.delete_object(**where)

    @override
    def delete_all(self, keys: Iterable[str]) -> None:
        names = iter([self._where(key)["Key"] for key in keys])
        while some := tuple(islice(names, MAX_DELETED)):
            self._delete_some(some)

    def _delete_some(self, names: Sequence[str]) -> None:
        """Remove objects with one request, or one by one where that is refused."""
        prefix = len(self._prefix)
        try:
            with self._translate_errors(names[0][prefix:]):
                failed = delete_objects(self._client, self._bucket, names)
        except StorageError as error:
            if error.retryable:
                raise
            failed = names
        with ThreadPoolExecutor(_CONCURRENT_DELETES) as pool:
            list(pool.map(self.delete, [name[prefix:] for name in failed]))

    def _put_if_absent(
        self, where: dict[str, str], data: bytes, marker: WriteMarker
    ) -> None:
        """Put the object; retry while another put of it is in progress."""
        asked = {**where, "Body": data, "IfNoneMatch": "*", "Metadata": marker.metadata}
        for wait in _CONFLICT_WAIT_SECONDS:
            try:
                self._client.put_object(**asked)
            except ClientError as error:
                if error_code(error) != "ConditionalRequestConflict":
                    raise
                time.sleep(wait)
            else:
                return
        self._client.put_object(**asked)

    def _fragments(
        self, key: str, offset: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        where = self._where(key)
        with self._translate_errors(key):
            yield from download(self._client, where, offset, end)

    def _pages(self, prefix: str, **asked: str) -> Iterator[dict[str, Any]]:
        paginator = self._client.get_paginator("list_objects_v2")
        top = self._prefix + prefix
        with self._translate_errors(prefix):
            for page in paginator.paginate(Bucket=self._bucket, Prefix=top, **asked):
                yield checked_response(page, is_page=True)

    def _where(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + checked_key(key)}

    def _place(self, key: str) -> str:
        return f"`{self.url}/{key}` at `{self._client.meta.endpoint_url}`"

    def _translate_errors(self, key: str) -> AbstractContextManager[None]:
        return translate_errors(self._place(key))
