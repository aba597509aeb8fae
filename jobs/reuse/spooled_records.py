"""Sorts millions of short records in bounded memory, with a temporary file."""

from collections.abc import Iterator
from os import SEEK_END
from tempfile import SpooledTemporaryFile

_SPOOL_BYTES = 8 * 1024 * 1024
_BUFFER_BYTES = 1024 * 1024
"""Bytes that are buffered before they are written."""


class SpooledRecords:
    """Records of equal size, sorted as bytes; for one thread.

    Each record is in a bucket, and one bucket at a time is sorted in memory. So a
    caller whose buckets are in the order of their records reads all of them sorted.
    """

    def __init__(self, record_bytes: int, buckets: int) -> None:
        """Start without records."""
        self.count = 0
        self._record_bytes = record_bytes
        self._file = SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed with self
        self._extents: list[list[tuple[int, int]]] = [[] for _ in range(buckets)]
        self._recent: list[bytearray] = [bytearray() for _ in range(buckets)]
        self._buffered = 0

    def add(self, bucket: int, record: bytes) -> None:
        """Add a record to a bucket."""
        self._recent[bucket] += record
        self._buffered += len(record)
        self.count += 1
        if self._buffered >= _BUFFER_BYTES:
            self._flush()

    def bucket(self, number: int) -> list[bytes]:
        """Return the sorted records of a bucket."""
        data = bytearray()
        for at, length in self._extents[number]:
            self._file.seek(at)
            data += self._file.read(length)
        data += self._recent[number]
        size = self._record_bytes
        whole = bytes(data)
        return sorted(whole[at : at + size] for at in range(0, len(whole), size))

    def __iter__(self) -> Iterator[list[bytes]]:
        """Yield the sorted records of each bucket."""
        return map(self.bucket, range(len(self._recent)))

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()

    def _flush(self) -> None:
        at = self._file.seek(0, SEEK_END)
        for extents, recent in zip(self._extents, self._recent, strict=True):
            if recent:
                extents.append((at, len(recent)))
                at += self._file.write(recent)
                recent.clear()
        self._buffered = 0
