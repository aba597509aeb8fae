"""Objects in this process: for unit tests and simulations, never a default."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from threading import Lock

from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.storage.protocol import CHUNK_BYTES, Entry, checked_key, is_between


class MemoryStorage:
    """Keeps its objects in a dictionary; safe to share between threads."""

    url = "memory://"

    def __init__(self) -> None:
        """Start empty."""
        self._objects: dict[str, bytes] = {}
        self._lock = Lock()

    def create(self, key: str, data: bytes) -> bool:  # noqa: D102 - see Storage
        with self._lock:
            if checked_key(key) in self._objects:
                return False
            self._objects[key] = data
        return True

    def put(self, key: str, data: bytes) -> None:  # noqa: D102
        self._objects[checked_key(key)] = data

    @contextmanager
    def writer(self, key: str) -> Iterator[BytesIO]:  # noqa: D102
        checked_key(key)
        buffer = BytesIO()
        yield buffer
        self.put(key, buffer.getvalue())

    def get(self, key: str) -> bytes:  # noqa: D102
        try:
            return self._objects[checked_key(key)]
        except KeyError:
            raise ObjectMissingError(key) from None

    def read(self, key: str, offset: int, length: int) -> bytes:  # noqa: D102
        return self.get(key)[offset : offset + length]

    def stream(self, key: str) -> Iterator[bytes]:  # noqa: D102
        data = self.get(key)
        return (data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES))

    def size(self, key: str) -> int:  # noqa: D102
        return len(self.get(key))

    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:  # noqa: D102
        for key, data in sorted(self._objects.items()):
            if key.startswith(prefix) and key > start_after:
                yield Entry(key, len(data))

    def folders(  # noqa: D102
        self, prefix: str, after: str = "", before: str = ""
    ) -> Iterator[str]:
        below = (
            entry.key.removeprefix(f"{prefix}/") for entry in self.list(f"{prefix}/")
        )
        names = {rest.partition("/")[0] for rest in below}
        yield from sorted(name for name in names if is_between(name, after, before))

    def delete(self, key: str) -> None:  # noqa: D102
        self._objects.pop(checked_key(key), None)
