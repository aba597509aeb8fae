"""The index of an ended batch: where the answer to each of its requests is.

It is one object: a header, a line feed, then one record of 32 bytes for each completed
request, sorted by digest. It is derived from the input and the output file, so it can
be made again at any time, and contains no text of a request or an answer.
"""

import zlib
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from batchchat.jobs.errors import CorruptObjectError
from batchchat.jobs.ledger import records
from batchchat.jobs.reuse.request_digest import DIGEST_BYTES
from batchchat.jobs.reuse.spooled_records import SpooledRecords
from batchchat.jobs.storage import Storage
from batchchat.jobs.storage.protocol import stream_range

BUCKETS = 256
"""The bucket of a record is the first byte of its digest."""

_RECORD = Struct(f">{DIGEST_BYTES}sQII")
RECORD_BYTES = _RECORD.size

_MAX_HEADER_BYTES = 64 * 1024


class Place(NamedTuple):
    """Where an answer is in an output file: its line, without the line feed.

    `checksum` is the line's CRC-32.
    """

    offset: int
    length: int
    checksum: int


class IndexHeader(records.Record, frozen=True, kw_only=True):
    """The first line of an index: for each bucket its records, and their CRC-32."""

    counts: list[int]
    checksums: list[int]


class IndexBuilder:
    """Collects the records of an index."""

    def __init__(self) -> None:
        """Start without records."""
        self._records = SpooledRecords(RECORD_BYTES, BUCKETS)

    def add(self, digest: bytes, place: Place) -> None:
        """Add where the answer to the request with `digest` is."""
        self._records.add(digest[0], _RECORD.pack(digest, *place))

    def store(self, storage: Storage, key: str) -> None:
        """Write the index, which appears whole or not at all."""
        counts, checksums = [], []
        for found in self._records:
            counts.append(len(found))
            checksums.append(zlib.crc32(b"".join(found)))
        header = IndexHeader(counts=counts, checksums=checksums)
        with storage.writer(key) as writer:
            writer.write(records.encode(header) + b"\n")
            for found in self._records:
                writer.write(b"".join(found))

    def close(self) -> None:
        """Delete the temporary file."""
        self._records.close()


class AnswerIndex:
    """Reads an index from the beginning to the end, one bucket at a time."""

    def __init__(self, storage: Storage, key: str) -> None:
        """Read the header of the index under `key`.

        Raises:
            ObjectMissingError: there is none.
            CorruptObjectError: it is truncated or altered.
            NewerFormatError: a newer version of batchchat wrote it.

        """
        self._storage = storage
        self._key = key
        head, line_feed, _ = storage.read(key, 0, _MAX_HEADER_BYTES).partition(b"\n")
        self._header = records.decode(IndexHeader, head, key)
        self._begin = len(head) + len(line_feed)
        self._check()

    def __len__(self) -> int:
        """Return the number of its records."""
        return sum(self._header.counts)

    def buckets(self) -> Iterator[dict[bytes, Place]]:
        """Yield the places of each bucket, by digest; of several, the first counts.

        Raises:
            CorruptObjectError: the index is truncated or altered.

        """
        length = len(self) * RECORD_BYTES
        chunks = stream_range(self._storage, self._key, self._begin, length)
        read = bytearray()
        for count, checksum in zip(
            self._header.counts, self._header.checksums, strict=True
        ):
            size = count * RECORD_BYTES
            while len(read) < size and (chunk := next(chunks, b"")):
                read += chunk
            bucket = bytes(read[:size])
            del read[:size]
            if len(bucket) < size or zlib.crc32(bucket) != checksum:
                raise self._corrupt()
            yield _places(bucket)

    def _check(self) -> None:
        header = self._header
        if not len(header.counts) == len(header.checksums) == BUCKETS:
            raise self._corrupt()

    def _corrupt(self) -> CorruptObjectError:
        return CorruptObjectError(f"`{self._key}` does not match its checksums")


def _places(bucket: bytes) -> dict[bytes, Place]:
    found: dict[bytes, Place] = {}
    for digest, *place in _RECORD.iter_unpack(bucket):
        found.setdefault(digest, Place(*place))
    return found
