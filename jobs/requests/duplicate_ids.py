"""Finds custom_ids that are on more than one line, in bounded memory.

A set of ten million strings would take a gigabyte. So the planner's first pass stores
a hash of eight bytes for each line, on disk if there are many. A second pass over the
file compares in full only the ids whose hashes occur more than once.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from os import SEEK_END
from tempfile import SpooledTemporaryFile

import msgspec

from batchchat.jobs.requests.line_reader import RawLine

_SPOOL_BYTES = 8 * 1024 * 1024
_HASHES_PER_WRITE = 65_536
"""Hashes that are buffered before they are written."""

_BUCKETS = 64
"""Equal hashes are in the same bucket, so each bucket is searched separately."""


class CustomIdHashes:
    """The hashes of a file's custom_ids, 8 bytes for each line."""

    def __init__(self) -> None:
        """Start empty."""
        self._file = SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed with self
        self._recent: list[str] = []
        self._extents: list[list[tuple[int, int]]] = [[] for _ in range(_BUCKETS)]

    def add_all(self, custom_ids: list[str]) -> None:
        """Add the ids of the next lines."""
        self._recent += custom_ids
        if len(self._recent) >= _HASHES_PER_WRITE:
            self._flush()

    def duplicate_hashes(self) -> set[int]:
        """Return the hashes that occur more than once."""
        self._flush()
        found: set[int] = set()
        for extents in self._extents:
            hashes = self._read(extents)
            if len({*hashes}) < len(hashes):
                found.update(h for h, times in Counter(hashes).items() if times > 1)
        return found

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()

    def _flush(self) -> None:
        """Write the buffered hashes by bucket, and record the extent of each bucket."""
        buckets: list[list[int]] = [[] for _ in range(_BUCKETS)]
        put = [bucket.append for bucket in buckets]
        for hashed in map(hash, self._recent):
            put[hashed % _BUCKETS](hashed)
        self._recent = []
        at = self._file.seek(0, SEEK_END)
        for extents, hashes in zip(self._extents, buckets, strict=True):
            if hashes:
                extents.append((at, len(hashes)))
                at += self._file.write(array("q", hashes).tobytes())

    def _read(self, extents: list[tuple[int, int]]) -> "array[int]":
        """Read the hashes of one bucket."""
        hashes = array("q")
        for at, count in extents:
            self._file.seek(at)
            hashes.frombytes(self._file.read(count * 8))
        return hashes


class _CustomIdOnly(msgspec.Struct):
    custom_id: str | None = None


def find_duplicates(
    lines: Iterable[RawLine],
    hashes: set[int],
    custom_id_of: Callable[[RawLine], str | None],
) -> Iterator[tuple[int, int, str]]:
    """Yield (line, first line, custom_id) for each id that is on an earlier line.

    `hashes` come from `CustomIdHashes.duplicate_hashes`, in the same process.
    `custom_id_of` returns the id as the planner reads it, which is slow, so it is
    called only for lines that may be duplicates.
    """
    decoder = msgspec.json.Decoder(_CustomIdOnly)
    first: dict[str, int] = {}
    for line in lines:
        if not _may_be_duplicate(line, decoder, hashes):
            continue
        custom_id = custom_id_of(line)
        if custom_id is None or hash(custom_id) not in hashes:
            continue
        earlier = first.setdefault(custom_id, line.number)
        if earlier != line.number:
            yield line.number, earlier, custom_id


def _may_be_duplicate(
    line: RawLine, decoder: "msgspec.json.Decoder[_CustomIdOnly]", hashes: set[int]
) -> bool:
    """Return quickly whether the line may have one of the ids."""
    if line.raw is None:
        return bool(line.head)
    if not line.raw.strip():
        return False
    try:
        custom_id = decoder.decode(line.raw).custom_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True
    return custom_id is None or hash(custom_id) in hashes
