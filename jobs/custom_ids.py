"""Finds custom_ids that stand on more than one line, in bounded memory.

A set of ten million strings would take a gigabyte. So the planner's first pass
keeps eight bytes for each line, on disk when there are many, and the few ids
whose hash comes twice are compared in full by a second pass over the file.
"""

from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from tempfile import SpooledTemporaryFile

import msgspec

from jobs.lines import RawLine
from jobs.parse import default_custom_id

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
    lines: Iterable[RawLine], hashes: set[int]
) -> Iterator[tuple[int, int, str]]:
    """Yield (line, earlier line, custom_id) for each id that was there before.

    `hashes` are those that `CustomIds` found, in the same process.
    """
    decoder = msgspec.json.Decoder(_Named)
    first: dict[str, int] = {}
    for line in lines:
        custom_id = _custom_id(line, decoder)
        if custom_id is None or hash(custom_id) not in hashes:
            continue
        earlier = first.setdefault(custom_id, line.number)
        if earlier != line.number:
            yield line.number, earlier, custom_id


def _custom_id(line: RawLine, decoder: "msgspec.json.Decoder[_Named]") -> str | None:
    if line.raw is None or not line.raw.strip():
        return None
    try:
        return decoder.decode(line.raw).custom_id or default_custom_id(line.number)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return default_custom_id(line.number)
