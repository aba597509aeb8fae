"""A storage whose reader may have to wait, so that others can compute meanwhile."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from typing_extensions import override

from batchchat.jobs.storage.protocol import Entry, Storage, Writer


class PacedStorage(Storage):
    """Calls `pause` before each piece of data that is read from another storage."""

    def __init__(self, storage: Storage, pause: Callable[[], object]) -> None:
        """Read and write `storage`."""
        self.url = storage.url
        self._storage = storage
        self._pause = pause

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
        self._pause()
        return self._storage.get(key)

    @override
    def read(self, key: str, offset: int, length: int) -> bytes:
        self._pause()
        return self._storage.read(key, offset, length)

    @override
    def stream(self, key: str) -> Iterator[bytes]:
        for piece in self._storage.stream(key):
            self._pause()
            yield piece

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

    @override
    def delete_all(self, keys: Iterable[str]) -> None:
        self._storage.delete_all(keys)
