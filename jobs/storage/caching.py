"""A storage that remembers what never changes."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager

from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.storage.protocol import Entry, Storage, Writer

_IMMUTABLE_KEY = re.compile(
    r".*/(batch|plan|cancel|file|key|commits/\d+)\.json", re.DOTALL
)
"""`final.json` is left out: a store that is not atomic may settle on another one."""


class CachedStorage:
    """Answers a `get` of a record that is written once from memory.

    Holds up to `max_bytes` bytes of records; a missing record is not remembered.
    """

    def __init__(self, storage: Storage, max_bytes: int = 64 * 1024 * 1024) -> None:
        """Read `storage`."""
        self.url = storage.url
        self._storage = storage
        self._records = LruCache[str, bytes](max_bytes, size_of=len)

    def create(self, key: str, data: bytes) -> bool:  # noqa: D102 - see Storage
        return self._storage.create(key, data)

    def put(self, key: str, data: bytes) -> None:  # noqa: D102
        self._storage.put(key, data)

    def writer(self, key: str) -> AbstractContextManager[Writer]:  # noqa: D102
        return self._storage.writer(key)

    def get(self, key: str) -> bytes:  # noqa: D102
        data = self._records.get(key)
        if data is None:
            data = self._storage.get(key)
            if _IMMUTABLE_KEY.fullmatch(key):
                self._records.put(key, data)
        return data

    def read(self, key: str, offset: int, length: int) -> bytes:  # noqa: D102
        return self._storage.read(key, offset, length)

    def stream(self, key: str) -> Iterator[bytes]:  # noqa: D102
        return self._storage.stream(key)

    def size(self, key: str) -> int:  # noqa: D102
        return self._storage.size(key)

    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:  # noqa: D102
        return self._storage.list(prefix, start_after)

    def folders(  # noqa: D102
        self, prefix: str, after: str = "", before: str = ""
    ) -> Iterator[str]:
        return self._storage.folders(prefix, after, before)

    def delete(self, key: str) -> None:  # noqa: D102
        self._storage.delete(key)
        self._records.remove(key)
