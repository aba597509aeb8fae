"""A storage's writer in the shape of a file, for what writes to files."""

import io
from typing import Any

from batchchat.jobs.storage.protocol import Writer


class WriterFile(io.RawIOBase):
    """Hands on what is written to it; `size` counts the bytes."""

    def __init__(self, content: Writer) -> None:
        """Write to `content`, which stays open."""
        self.size = 0
        self._content = content

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: Any, /) -> int:
        """Append `data`, whatever kind of bytes it is."""
        piece = bytes(data)
        self._content.write(piece)
        self.size += len(piece)
        return len(piece)
