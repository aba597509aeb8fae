"""Finds custom_ids that stand on more than one line, in bounded memory.

A set of ten million strings would take a gigabyte. So the planner's first pass
keeps eight bytes for each line, on disk when there are many, and the few ids
whose hash comes twice are compared in full by a second pass over the file.
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
"""Hashes that are written together."""

_BUCKETS = 64
"""Equal hashes share a bucket, so each bucket can be looked at alone."""


class CustomIdHashes:
    """The hashes of a file's custom_ids, 8 bytes a line."""

    def __init__(self) -> None:
        """Start with none."""
        self._file = SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed with self
        self._recent: list[str] = []
        self._extents: list[list[tuple[int, int]]] = [[] for _ in range(_BUCKETS)]

    def add_all(self, custom_ids: list[str]) -> None:
        """Note the ids of the next lines."""
        self._recent += custom_ids
        if len(self._recent) >= _HASHES_PER_WRITE:
            self._flush()

    def duplicate_hashes(self) -> set[int]:
        """Return the hashes that came more than once."""
        self._flush()
        found: set[int] = set()
        for extents in self._extents:
            mine = self._read(extents)
            if len({*mine}) < len(mine):
                found.update(h for h, times in Counter(mine).items() if times > 1)
        return found

    def close(self) -> None:
        """Give back the disk's space."""
        self._file.close()

    def _flush(self) -> None:
        """Write the recent hashes bucket by bucket, and note where each one's lie."""
        buckets: list[list[int]] = [[] for _ in range(_BUCKETS)]
        put = [bucket.append for bucket in buckets]
        for hashed in map(hash, self._recent):
            put[hashed % _BUCKETS](hashed)
        self._recent = []
        at = self._file.seek(0, SEEK_END)
        for extents, mine in zip(self._extents, buckets, strict=True):
            if mine:
                extents.append((at, len(mine)))
                at += self._file.write(array("q", mine).tobytes())

    def _read(self, extents: list[tuple[int, int]]) -> "array[int]":
        """Return the hashes of one bucket."""
        mine = array("q")
        for at, count in extents:
            self._file.seek(at)
            mine.frombytes(self._file.read(count * 8))
        return mine


class _CustomIdOnly(msgspec.Struct):
    custom_id: str | None = None


def find_duplicates(
    lines: Iterable[RawLine],
    hashes: set[int],
    custom_id_of: Callable[[RawLine], str | None],
) -> Iterator[tuple[int, int, str]]:
    """Yield (line, earlier line, custom_id) for each id that was there before.

    `hashes` are those that `CustomIds` found, in the same process; `custom_id_of`
    is how the planner reads a line, asked only where it may matter.
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
    """Say whether the line may have one of the ids, at a fraction of the cost."""
    if line.raw is None or not line.raw.strip():
        return False
    try:
        custom_id = decoder.decode(line.raw).custom_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True
    return custom_id is None or hash(custom_id) in hashes
