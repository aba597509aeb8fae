"""Cuts a stream of bytes into lines, with their places, in bounded memory."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

BOM = b"\xef\xbb\xbf"


class RawLine(NamedTuple):
    """One line: where its bytes lie, and the bytes without the line feed.

    `raw` is None when the line is longer than allowed; its bytes are not kept.
    """

    number: int
    offset: int
    length: int
    raw: bytes | None


def iter_lines(
    chunks: Iterable[bytes], most: int, *, offset: int = 0, first: int = 1
) -> Iterator[RawLine]:
    """Yield the lines of `chunks`; `length` counts the line feed.

    Holds one chunk and one line of up to `most` bytes. `offset` and `first` are
    the place and the number of the first line. A byte order mark at the start of
    a file is no part of its first line.
    """
    number = first
    head = b""
    skipped = 0
    for chunk in chunks:
        pieces = chunk.split(b"\n")
        pieces[0] = head + pieces[0]
        head = pieces.pop()
        for raw in pieces:
            length = len(raw) + 1
            if skipped or length > most or not offset:
                length += skipped
                kept = raw if length <= most + 1 else None
                yield RawLine(number, offset, length, _without_mark(kept, offset))
                skipped = 0
            else:
                yield RawLine(number, offset, length, raw)
            number += 1
            offset += length
        if len(head) > most:
            skipped += len(head)
            head = b""
    if head or skipped:
        kept = None if skipped else head
        length = skipped + len(head)
        yield RawLine(number, offset, length, _without_mark(kept, offset))


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file that is our own, which needs no places and no limit."""
    head = b""
    for chunk in chunks:
        lines = chunk.split(b"\n")
        lines[0] = head + lines[0]
        head = lines.pop()
        yield from lines
    if head:
        yield head


def _without_mark(raw: bytes | None, offset: int) -> bytes | None:
    return raw.removeprefix(BOM) if raw is not None and offset == 0 else raw
