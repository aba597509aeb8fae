"""A stored object with the interface of a file."""

import io
import os
from io import BufferedReader
from typing import Any

from batchchat.jobs.storage.protocol import CHUNK_BYTES, Storage


class ObjectFile(io.RawIOBase):
    """Reads a stored object from any position."""

    def __init__(self, storage: Storage, key: str) -> None:
        """Read the object `key`. Raises `ObjectMissingError` and `StorageError`."""
        self._storage = storage
        self._key = key
        self._size = storage.size(key)
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a position, and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}
        self._at = max(0, start[whence] + offset)
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read the next bytes. Raises `StorageError`."""
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        data = self._storage.read(self._key, self._at, wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_object(storage: Storage, key: str) -> BufferedReader:
    """Open a stored object as a file. Raises `ObjectMissingError`, `StorageError`."""
    return BufferedReader(ObjectFile(storage, key), CHUNK_BYTES)
