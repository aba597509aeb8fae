"""A storage in memory, for unit tests and simulations only."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from threading import Lock

from typing_extensions import override

from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.storage.protocol import (
    CHUNK_BYTES,
    Entry,
    Storage,
    checked_key,
    is_between,
)


class MemoryStorage(Storage):
    """Stores its objects in a dictionary. Thread-safe."""

    url = "memory://"

    def __init__(self) -> None:
        """Start empty."""
        self._objects: dict[str, bytes] = {}
        self._lock = Lock()

    @override
    def create(self, key: str, data: bytes) -> bool:
        with self._lock:
            if checked_key(key) in self._objects:
                return False
            self._objects[key] = data
        return True

    @override
    def put(self, key: str, data: bytes) -> None:
        self._objects[checked_key(key)] = data

    @override
    @contextmanager
    def writer(self, key: str) -> Iterator[BytesIO]:
        checked_key(key)
        buffer = BytesIO()
        yield buffer
        self.put(key, buffer.getvalue())

    @override
    def get(self, key: str) -> bytes:
        try:
            return self._objects[checked_key(key)]
        except KeyError:
            raise ObjectMissingError(key) from None

    @override
    def read(self, key: str, offset: int, length: int) -> bytes:
        return self.get(key)[offset : offset + length]

    @override
    def stream(self, key: str) -> Iterator[bytes]:
        data = self.get(key)
        return (data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES))

    @override
    def size(self, key: str) -> int:
        return len(self.get(key))

    @override
    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        for key, data in sorted(self._objects.items()):
            if key.startswith(prefix) and key > start_after:
                yield Entry(key, len(data))

    @override
    def folders(self, prefix: str, after: str = "", before: str = "") -> Iterator[str]:
        below = (
            entry.key.removeprefix(f"{prefix}/") for entry in self.list(f"{prefix}/")
        )
        names = {rest.partition("/")[0] for rest in below}
        yield from sorted(name for name in names if is_between(name, after, before))

    @override
    def delete(self, key: str) -> None:
        self._objects.pop(checked_key(key), None)
