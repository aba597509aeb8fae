"""Decompress gzip as it arrives, in bounded memory."""

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

GZIP_MAGIC = b"\x1f\x8b"

_PIECE_BYTES = 1024 * 1024
_GZIP_WINDOW_BITS = 31


def gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what a stream of one or more members decompresses to.

    Raises:
        EOFError: the stream is truncated.
        ValueError: it is damaged.

    """
    decoder = GzipDecoder()
    yield from chain.from_iterable(map(decoder.feed, chunks))
    yield from decoder.finish()


class GzipDecoder:
    """Decompresses a stream of one or more gzip members."""

    def __init__(self) -> None:
        """Expect the header of the first member."""
        self._member: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes decompress to, in pieces of up to 1 MiB.

        Raises:
            ValueError: the bytes are not gzip.

        """
        while data:
            if self._member is None:
                data = data.lstrip(b"\0")  # padding between and after members
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP_WINDOW_BITS)
            member = self._member
            try:
                piece = member.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise ValueError(str(error)) from None
            if piece:
                yield piece
            data = member.unconsumed_tail
            if member.eof:
                data, self._member = member.unused_data, None

    def finish(self) -> Iterator[bytes]:
        """Yield the rest. Raises `EOFError` if the stream is truncated."""
        if self._member is not None:
            rest = self._member.flush()
            if rest:
                yield rest
            if not self._member.eof:
                raise EOFError
