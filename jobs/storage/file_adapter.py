"""Stored objects with the interface of a file."""

import io
from typing import Any

from typing_extensions import override

from batchchat.jobs.storage.protocol import Storage, Writer

_READ_BYTES = 1024 * 1024
"""Size of the smallest read of a stored object."""


class WriterFile(io.RawIOBase):
    """Passes on what is written to it; `size` counts the bytes."""

    def __init__(self, content: Writer) -> None:
        """Write to `content`, which is not closed."""
        self.size = 0
        self._content = content

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any, /) -> int:
        """Append `data`, any bytes-like object."""
        piece = bytes(data)
        self._content.write(piece)
        self.size += len(piece)
        return len(piece)


def stored_file(storage: Storage, key: str) -> io.BufferedReader:
    """Return a stored object as a file that can be read from any position.

    Raises:
        ObjectMissingError: there is no such object.

    """
    return io.BufferedReader(_StoredBytes(storage, key), _READ_BYTES)


class _StoredBytes(io.RawIOBase):
    """Reads ranges of an object."""

    def __init__(self, storage: Storage, key: str) -> None:
        self._storage = storage
        self._key = key
        self._size = storage.size(key)
        self._at = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}
        self._at = max(0, starts[whence] + offset)
        return self._at

    @override
    def readinto(self, buffer: Any, /) -> int:
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        data = self._storage.read(self._key, self._at, wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
