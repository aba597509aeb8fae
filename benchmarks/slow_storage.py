"""A storage in memory that takes as long as a bucket, and counts its requests."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from threading import Lock
from typing import TypeVar

from typing_extensions import override

from batchchat.jobs.storage.memory import MemoryStorage
from batchchat.jobs.storage.protocol import Entry, Storage, Writer

_PAGE = 1_000
"""Entries of a listing that one request of S3 returns."""

T = TypeVar("T")


class SlowStorage(Storage):
    """Each method sends the requests that `S3Storage` would send."""

    url = "memory://"

    def __init__(self, storage: MemoryStorage, seconds: float) -> None:
        """Let each request take `seconds`."""
        self.seconds = seconds
        self.requests: Counter[tuple[str, str]] = Counter()
        """The number of requests by method and key or prefix."""

        self._storage = storage
        self._lock = Lock()

    @property
    def total(self) -> int:
        """The number of requests so far."""
        with self._lock:
            return sum(self.requests.values())

    @override
    def create(self, key: str, data: bytes) -> bool:
        self._request("PUT", key)
        return self._storage.create(key, data)

    @override
    def put(self, key: str, data: bytes) -> None:
        self._request("PUT", key)
        self._storage.put(key, data)

    @override
    @contextmanager
    def writer(self, key: str) -> Iterator[Writer]:
        with self._storage.writer(key) as writer:
            yield writer
            self._request("PUT", key)

    @override
    def get(self, key: str) -> bytes:
        self._request("GET", key)
        return self._storage.get(key)

    @override
    def read(self, key: str, offset: int, length: int) -> bytes:
        self._request("GET", key)
        return self._storage.read(key, offset, length)

    @override
    def stream(self, key: str) -> Iterator[bytes]:
        self._request("GET", key)
        yield from self._storage.stream(key)

    @override
    def size(self, key: str) -> int:
        self._request("GET", key)
        return self._storage.size(key)

    @override
    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        items = self._storage.list(prefix, start_after)
        return self._paged(f"{prefix} after {start_after}", items)

    @override
    def folders(self, prefix: str, after: str = "", before: str = "") -> Iterator[str]:
        items = self._storage.folders(prefix, after, before)
        return self._paged(f"{prefix} after {after}", items)

    @override
    def delete(self, key: str) -> None:
        self._request("DELETE", key)
        self._storage.delete(key)

    def _paged(self, prefix: str, items: Iterable[T]) -> Iterator[T]:
        items = iter(items)
        for number in count():
            self._request("LIST", f"{prefix} page {number}")
            page = list(islice(items, _PAGE))
            yield from page
            if len(page) < _PAGE:
                return

    def _request(self, method: str, key: str) -> None:
        with self._lock:
            self.requests[method, key] += 1
        time.sleep(self.seconds)
