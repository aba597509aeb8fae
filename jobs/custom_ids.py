"""Finds custom_ids that stand on more than one line, in bounded memory.

A set of ten million strings would take a gigabyte. So the planner's first pass
keeps eight bytes for each line, on disk when there are many, and the few ids
whose hash comes twice are compared in full by a second pass over the file.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from tempfile import SpooledTemporaryFile

import msgspec

from jobs.lines import RawLine

_IN_MEMORY = 8 * 1024 * 1024
_PIECE = 1_000_000
"""Hashes that are looked at together."""


class CustomIds:
    """The hashes of a file's custom_ids, 8 bytes a line."""

    def __init__(self) -> None:
        """Start with none."""
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed with self
        self._recent = array("q")
        self._count = 0

    def add(self, custom_id: str) -> None:
        """Note the id of the next line."""
        self._recent.append(hash(custom_id))
        if len(self._recent) == _PIECE:
            self._flush()

    def repeated_hashes(self) -> set[int]:
        """Return the hashes that came more than once."""
        self._flush()
        parts = 1 << max(0, (self._count // _PIECE).bit_length())
        found: set[int] = set()
        for part in range(parts):
            found.update(self._repeated_in(part, parts - 1))
        return found

    def close(self) -> None:
        """Give back the disk's space."""
        self._file.close()

    def _flush(self) -> None:
        self._file.seek(0, 2)
        self._file.write(self._recent.tobytes())
        self._count += len(self._recent)
        self._recent = array("q")

    def _repeated_in(self, part: int, mask: int) -> Iterator[int]:
        """Yield the repeated hashes among those whose low bits are `part`."""
        mine = sorted(h for piece in self._pieces() for h in piece if h & mask == part)
        return (h for h, following in pairwise(mine) if h == following)

    def _pieces(self) -> Iterator["array[int]"]:
        self._file.seek(0)
        while data := self._file.read(_PIECE * 8):
            yield array("q", data)


class _Named(msgspec.Struct):
    custom_id: str | None = None


def repetitions(
    lines: Iterable[RawLine],
    hashes: set[int],
    custom_id_of: Callable[[RawLine], str | None],
) -> Iterator[tuple[int, int, str]]:
    """Yield (line, earlier line, custom_id) for each id that was there before.

    `hashes` are those that `CustomIds` found, in the same process; `custom_id_of`
    is how the planner reads a line, asked only where it may matter.
    """
    decoder = msgspec.json.Decoder(_Named)
    first: dict[str, int] = {}
    for line in lines:
        if not _may_matter(line, decoder, hashes):
            continue
        custom_id = custom_id_of(line)
        if custom_id is None or hash(custom_id) not in hashes:
            continue
        earlier = first.setdefault(custom_id, line.number)
        if earlier != line.number:
            yield line.number, earlier, custom_id


def _may_matter(
    line: RawLine, decoder: "msgspec.json.Decoder[_Named]", hashes: set[int]
) -> bool:
    """Say whether the line may have one of the ids, at a fraction of the cost."""
    if line.raw is None or not line.raw.strip():
        return False
    try:
        custom_id = decoder.decode(line.raw).custom_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True
    return custom_id is None or hash(custom_id) in hashes
