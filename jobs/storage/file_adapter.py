"""A storage writer with the interface of a file."""

import io
from typing import Any

from batchchat.jobs.storage.protocol import Writer


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
