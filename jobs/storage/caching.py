"""A storage that remembers what never changes."""

import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from threading import Lock

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
        self._max_bytes = max_bytes
        self._records: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def create(self, key: str, data: bytes) -> bool:  # noqa: D102 - see Storage
        return self._storage.create(key, data)

    def put(self, key: str, data: bytes) -> None:  # noqa: D102
        self._storage.put(key, data)

    def writer(self, key: str) -> AbstractContextManager[Writer]:  # noqa: D102
        return self._storage.writer(key)

    def get(self, key: str) -> bytes:  # noqa: D102
        with self._lock:
            if key in self._records:
                self._records.move_to_end(key)
                return self._records[key]
        data = self._storage.get(key)
        if _IMMUTABLE_KEY.fullmatch(key):
            self._keep(key, data)
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
        with self._lock:
            self._size -= len(self._records.pop(key, b""))

    def _keep(self, key: str, data: bytes) -> None:
        with self._lock:
            if key not in self._records:
                self._records[key] = data
                self._size += len(data)
            while self._size > self._max_bytes:
                _, dropped = self._records.popitem(last=False)
                self._size -= len(dropped)
