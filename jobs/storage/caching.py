"""A storage that caches immutable records."""

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

from typing_extensions import override

from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.storage.protocol import Entry, Storage, Writer

_IMMUTABLE_KEY = re.compile(
    r".*/(batch|plan|cancel|file|commits/\d+)\.json|active/.+", re.DOTALL
)
"""`final.json` is excluded: a store that is not atomic may replace it once more."""


_ENTRY_BYTES = 500
"""The key of a record, and what the cache itself needs for it."""


class CachedStorage(Storage):
    """Serves immutable records from memory.

    Holds up to `max_bytes` of records. That a record is missing is not cached.
    """

    def __init__(self, storage: Storage, max_bytes: int = 64 * 1024 * 1024) -> None:
        """Cache the records of `storage`."""
        self.url = storage.url
        self._storage = storage
        self._records = LruCache[str, bytes](
            max_bytes, lambda data: len(data) + _ENTRY_BYTES
        )

    @override
    def create(self, key: str, data: bytes) -> bool:
        return self._storage.create(key, data)

    @override
    def put(self, key: str, data: bytes) -> None:
        self._storage.put(key, data)

    @override
    def writer(self, key: str) -> AbstractContextManager[Writer]:
        return self._storage.writer(key)

    @override
    def get(self, key: str) -> bytes:
        data = self._records.get(key)
        if data is None:
            data = self._storage.get(key)
            if _IMMUTABLE_KEY.fullmatch(key):
                self._records.put(key, data)
        return data

    @override
    def read(self, key: str, offset: int, length: int) -> bytes:
        return self._storage.read(key, offset, length)

    @override
    def stream(self, key: str) -> Iterator[bytes]:
        return self._storage.stream(key)

    @override
    def size(self, key: str) -> int:
        return self._storage.size(key)

    @override
    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        return self._storage.list(prefix, start_after)

    @override
    def folders(self, prefix: str, after: str = "", before: str = "") -> Iterator[str]:
        return self._storage.folders(prefix, after, before)

    @override
    def delete(self, key: str) -> None:
        self._storage.delete(key)
        self._records.remove(key)

    @override
    def delete_all(self, keys: Iterable[str]) -> None:
        removed = list(keys)
        self._storage.delete_all(removed)
        for key in removed:
            self._records.remove(key)
