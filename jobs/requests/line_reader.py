"""Splits a stream of bytes into lines with their offsets, in bounded memory."""

from collections.abc import Iterable, Iterator
from itertools import chain

import msgspec

BOM = b"\xef\xbb\xbf"

_BLOCK_BYTES = 64 * 1024
"""Bytes that are split at once; few enough to stay in the processor's cache."""


_HEAD_BYTES = 4096
"""Bytes that are kept of a line that is longer than allowed."""


class RawLine(msgspec.Struct, frozen=True, gc=False):
    """One line: its position in the file, and its bytes without the line feed.

    `number` counts from 1, `offset` and `length` are in bytes, and `length` includes
    the line feed. `raw` is None if the line is longer than allowed; then `head` is its
    beginning.
    """

    number: int
    offset: int
    length: int
    raw: bytes | None
    head: bytes = b""


class LineSplitter:
    """Splits a stream that arrives in chunks; holds at most one line.

    `number` and `offset` are those of the next line. A byte order mark at the start of
    the file does not belong to the first line.
    """

    def __init__(
        self, max_line_bytes: int, *, offset: int = 0, first_line: int = 1
    ) -> None:
        """Start with the line number `first_line` at `offset` of the file."""
        self.number = first_line
        self.offset = offset
        self._max_line_bytes = max_line_bytes
        self._head = b""
        self._skipped = 0
        self._start = b""

    @property
    def at_line_start(self) -> bool:
        """Whether the next chunk starts a new line, other than the file's first."""
        return bool(self.offset) and not (self._head or self._skipped)

    def split(self, chunk: bytes) -> Iterator[RawLine]:
        """Yield the lines that end in the next chunk."""
        number, offset = self.number, self.offset
        max_line_bytes, skipped = self._max_line_bytes, self._skipped
        pieces = chunk.split(b"\n")
        pieces[0] = self._head + pieces[0]
        head = pieces.pop()
        for raw in pieces:
            length = len(raw) + 1
            if skipped or length > max_line_bytes or not offset:
                length += skipped
                is_too_long = length > max_line_bytes + 1
                start = self._start if skipped else raw[:_HEAD_BYTES]
                yield _line(number, offset, length, None if is_too_long else raw, start)
                skipped = 0
            else:
                yield RawLine(number, offset, length, raw)
            number += 1
            offset += length
        if len(head) > max_line_bytes:
            if not skipped:
                self._start = head[:_HEAD_BYTES]
            skipped += len(head)
            head = b""
        self.number, self.offset = number, offset
        self._head, self._skipped = head, skipped

    def skip(self, lines: int, length: int) -> None:
        """Skip whole lines, with `length` bytes, that the caller has split itself."""
        self.number += lines
        self.offset += length

    def finish(self) -> Iterator[RawLine]:
        """Yield the last line if it does not end with a line feed."""
        if self._head or self._skipped:
            raw = None if self._skipped else self._head
            length = self._skipped + len(self._head)
            yield _line(self.number, self.offset, length, raw, self._start)


def iter_lines(
    chunks: Iterable[bytes],
    max_line_bytes: int,
    *,
    offset: int = 0,
    first_line: int = 1,
) -> Iterator[RawLine]:
    """Yield the lines of `chunks`; see `LineSplitter`."""
    lines = LineSplitter(max_line_bytes, offset=offset, first_line=first_line)
    split = map(lines.split, line_blocks(chunks, _BLOCK_BYTES))
    return chain(chain.from_iterable(split), lines.finish())


def line_blocks(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Split `chunks` after line feeds into blocks of up to `size` bytes or one line."""
    for chunk in chunks:
        begin, end = 0, chunk.find(b"\n") + 1  # the rest of the last chunk's line
        while begin < len(chunk):
            end = end or chunk.find(b"\n", begin) + 1 or len(chunk)
            yield chunk[begin:end]
            begin, end = end, chunk.rfind(b"\n", end, end + size) + 1


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a trusted file, without offsets and length limit."""
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


def _line(
    number: int, offset: int, length: int, raw: bytes | None, start: bytes
) -> RawLine:
    """Return a line that begins with `start`, without a byte order mark."""
    if raw is None:
        return RawLine(number, offset, length, None, _strip_bom(start, offset))
    return RawLine(number, offset, length, _strip_bom(raw, offset))


def _strip_bom(text: bytes, offset: int) -> bytes:
    return text.removeprefix(BOM) if offset == 0 else text
