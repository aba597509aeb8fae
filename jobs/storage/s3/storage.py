"""Objects of a bucket, on AWS or any server that speaks its protocol."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from botocore.exceptions import ClientError

from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.storage.protocol import Entry, checked_key, is_between
from batchchat.jobs.storage.s3.client import s3_client
from batchchat.jobs.storage.s3.download import (
    checked_response,
    download,
    rechunked,
    size_of,
)
from batchchat.jobs.storage.s3.errors import error_code, translate_errors
from batchchat.jobs.storage.s3.upload import Upload, WriteMarker

_CONFLICT_WAIT_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)


class S3Storage:
    """Keeps its objects below a prefix of one bucket; safe between threads.

    A conditional put decides who creates an object. AWS and Ceph make that atomic;
    OpenStack Swift looks first and writes then, so that racing creates may all
    succeed and the last one's bytes stay. `final.json` is there for that.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        path_style: bool | None = None,
    ) -> None:
        """Use the bucket, which must exist; credentials come by boto3's chain.

        Without an `endpoint` it is AWS's. `path_style` has the bucket in a URL's path
        and not in its host; None does so where there is an endpoint.
        """
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._prefix = f"{checked_key(prefix)}/" if prefix else ""
        self._client = s3_client(endpoint, path_style=path_style)

    def create(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one; say whether this call did it.

        A put whose answer got lost is sent again, by boto3 or by a proxy on the way,
        and the second one is refused because the first had worked. So a refusal is
        believed only if the object doesn't carry this call's marker. Equal bytes
        would prove less: two callers may have had the same to say.
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

    def put(self, key: str, data: bytes) -> None:  # noqa: D102 - see Storage
        where = self._where(key)
        with self._translate_errors(key):
            self._client.put_object(**where, Body=data)

    @contextmanager
    def writer(self, key: str) -> Iterator[Upload]:  # noqa: D102
        upload = Upload(self._client, self._where(key), self._place(key))
        try:
            yield upload
            upload.finish()
        except BaseException:
            upload.abort()
            raise

    def get(self, key: str) -> bytes:  # noqa: D102
        return b"".join(self._fragments(key))

    def read(self, key: str, offset: int, length: int) -> bytes:  # noqa: D102
        if length <= 0:  # HTTP has no empty ranges
            self.size(key)
            return b""
        return b"".join(self._fragments(key, offset, offset + length))

    def stream(self, key: str) -> Iterator[bytes]:  # noqa: D102
        return rechunked(self._fragments(key))

    def size(self, key: str) -> int:  # noqa: D102
        where = self._where(key)
        with self._translate_errors(key):
            return size_of(self._client, where)

    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:  # noqa: D102
        after = {"StartAfter": self._prefix + start_after} if start_after else {}
        for page in self._pages(prefix, **after):
            for item in page.get("Contents", ()):
                if not item["Key"].endswith("/"):  # a console's idea of a folder
                    yield Entry(item["Key"][len(self._prefix) :], item["Size"])

    def folders(  # noqa: D102
        self, prefix: str, after: str = "", before: str = ""
    ) -> Iterator[str]:
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

    def delete(self, key: str) -> None:  # noqa: D102
        where = self._where(key)
        with suppress(ObjectMissingError), self._translate_errors(key):
            self._client.delete_object(**where)

    def _put_if_absent(
        self, where: dict[str, str], data: bytes, marker: WriteMarker
    ) -> None:
        """Put, again while the server says that another put is under way."""
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
