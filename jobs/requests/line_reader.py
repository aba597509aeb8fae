"""Cuts a stream of bytes into lines, with their places, in bounded memory."""

from collections.abc import Iterable, Iterator
from itertools import chain

import msgspec

BOM = b"\xef\xbb\xbf"

_BLOCK_BYTES = 64 * 1024
"""Bytes that are cut into lines at once: the lines stay in the processor's cache."""


class RawLine(msgspec.Struct, frozen=True, gc=False):
    """One line: where its bytes lie, and the bytes without the line feed.

    `raw` is None when the line is longer than allowed; its bytes are not kept.
    """

    number: int
    offset: int
    length: int
    raw: bytes | None


class LineSplitter:
    """Cuts a stream that comes in chunks; `number` and `offset` are where it is.

    Holds one line of up to `most` bytes. `offset` and `first` are the place and the
    number of the first line. A byte order mark at the start of a file is no part of
    its first line.
    """

    def __init__(
        self, max_line_bytes: int, *, offset: int = 0, first_line: int = 1
    ) -> None:
        """Begin with the line that is the `first`."""
        self.number = first_line
        self.offset = offset
        self._max_line_bytes = max_line_bytes
        self._head = b""
        self._skipped = 0

    @property
    def at_line_start(self) -> bool:
        """Whether the next chunk begins a line, and not the file."""
        return bool(self.offset) and not (self._head or self._skipped)

    def split(self, chunk: bytes) -> Iterator[RawLine]:
        """Yield the lines that end within the next chunk."""
        number, offset = self.number, self.offset
        max_line_bytes, skipped = self._max_line_bytes, self._skipped
        pieces = chunk.split(b"\n")
        pieces[0] = self._head + pieces[0]
        head = pieces.pop()
        for raw in pieces:
            length = len(raw) + 1
            if skipped or length > max_line_bytes or not offset:
                length += skipped
                kept = raw if length <= max_line_bytes + 1 else None
                yield RawLine(number, offset, length, _strip_bom(kept, offset))
                skipped = 0
            else:
                yield RawLine(number, offset, length, raw)
            number += 1
            offset += length
        if len(head) > max_line_bytes:
            skipped += len(head)
            head = b""
        self.number, self.offset = number, offset
        self._head, self._skipped = head, skipped

    def skip(self, lines: int, length: int) -> None:
        """Leave out whole lines of the next chunk, which somebody else has cut."""
        self.number += lines
        self.offset += length

    def finish(self) -> Iterator[RawLine]:
        """Yield the last line if no line feed ends it."""
        if self._head or self._skipped:
            kept = None if self._skipped else self._head
            length = self._skipped + len(self._head)
            raw = _strip_bom(kept, self.offset)
            yield RawLine(self.number, self.offset, length, raw)


def iter_lines(
    chunks: Iterable[bytes],
    max_line_bytes: int,
    *,
    offset: int = 0,
    first_line: int = 1,
) -> Iterator[RawLine]:
    """Yield the lines of `chunks`; `length` counts the line feed. See `Lines`."""
    lines = LineSplitter(max_line_bytes, offset=offset, first_line=first_line)
    split = map(lines.split, line_blocks(chunks, _BLOCK_BYTES))
    return chain(chain.from_iterable(split), lines.finish())


def line_blocks(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Cut `chunks` behind line feeds into pieces of up to `size`, or of one line."""
    for chunk in chunks:
        begin, end = 0, chunk.find(b"\n") + 1  # the rest of the last chunk's line
        while begin < len(chunk):
            end = end or chunk.find(b"\n", begin) + 1 or len(chunk)
            yield chunk[begin:end]
            begin, end = end, chunk.rfind(b"\n", end, end + size) + 1


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file that is our own, which needs no places and no limit."""
    return chain.from_iterable(_split(chunks))


def _split(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    head = b""
    for piece in line_blocks(chunks, _BLOCK_BYTES):
        lines = piece.split(b"\n")
        lines[0] = head + lines[0]
        head = lines.pop()
        yield lines
    if head:
        yield [head]


def _strip_bom(raw: bytes | None, offset: int) -> bytes | None:
    return raw.removeprefix(BOM) if raw is not None and offset == 0 else raw
