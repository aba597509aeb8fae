"""The map of a plan: which earlier answer each of its requests can use again.

It has a record of 22 bytes for each such request, in the order of the input. The plan
names the map, and each shard of the plan has a range of it.
"""

import zlib
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple

from batchchat.jobs.errors import CorruptObjectError
from batchchat.jobs.ledger.planned_reuse import MapRange
from batchchat.jobs.ledger.records import Shard
from batchchat.jobs.reuse.answer_index import Place
from batchchat.jobs.reuse.spooled_records import SpooledRecords
from batchchat.jobs.storage import Storage

_RECORD = Struct(">IHQII")
_BUCKETS = 256


class EarlierAnswer(NamedTuple):
    """The answer that a request can use again; `source` is a number in the plan."""

    line: int
    source: int
    place: Place


class MapBuilder:
    """Collects the records of a map, in any order."""

    def __init__(self, last_line: int) -> None:
        """Start without records; no line has a higher number than `last_line`."""
        self._records = SpooledRecords(_RECORD.size, _BUCKETS)
        self._lines_per_bucket = last_line // _BUCKETS + 1

    def __len__(self) -> int:
        """Return the number of records."""
        return self._records.count

    def add(self, line: int, source: int, place: Place) -> None:
        """Add the answer that the request on a line can use again."""
        record = _RECORD.pack(line, source, *place)
        self._records.add(line // self._lines_per_bucket, record)

    def lines(self) -> Iterator[int]:
        """Yield the lines of the requests, in order."""
        for bucket in self._records:
            for record in bucket:
                yield _RECORD.unpack(record)[0]

    def store(self, storage: Storage, key: str, shards: list[Shard]) -> list[MapRange]:
        """Write the map; return the range of each shard."""
        ranges = []
        records = (record for bucket in self._records for record in bucket)
        record = next(records, None)
        offset = 0
        with storage.writer(key) as writer:
            for shard in shards:
                found = bytearray()
                end = shard.first_line + shard.lines
                while record is not None and _RECORD.unpack(record)[0] < end:
                    found += record
                    record = next(records, None)
                writer.write(bytes(found))
                ranges.append(MapRange(offset, len(found), zlib.crc32(found)))
                offset += len(found)
        return ranges

    def close(self) -> None:
        """Delete the temporary file."""
        self._records.close()


def read_map(storage: Storage, key: str, part: MapRange) -> Iterable[EarlierAnswer]:
    """Return the records of a shard.

    Raises:
        ObjectMissingError: the map is missing.
        CorruptObjectError: it is truncated or altered.

    """
    data = storage.read(key, part.offset, part.length)
    if len(data) < part.length or zlib.crc32(data) != part.checksum:
        raise CorruptObjectError(f"`{key}` does not match its checksums")
    return [
        EarlierAnswer(line, source, Place(*place))
        for line, source, *place in _RECORD.iter_unpack(data)
    ]
