"""Decompress Zstandard as it arrives, in bounded memory."""

from collections.abc import Iterable, Iterator
from io import RawIOBase
from typing import Any

from typing_extensions import override

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_PIECE_BYTES = 1024 * 1024


def unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what a stream of one or more frames decompresses to.

    Raises:
        EOFError: the stream is truncated.
        ValueError: it is damaged, or needs a window of more than 128 MiB.

    """
    import pyarrow as pa  # slow to import

    with pa.PythonFile(_Chunks(chunks), mode="r") as packed:
        stream = pa.CompressedInputStream(packed, "zstd")
        while piece := _read(stream):
            yield piece


def _read(stream: Any) -> bytes:
    try:
        return bytes(stream.read(_PIECE_BYTES))
    except OSError as error:
        text = str(error)
        if "Truncated" in text:
            raise EOFError from None
        if "ZSTD" not in text:  # the source can't be read
            raise
        raise ValueError(text.rpartition(": ")[2]) from None


class _Chunks(RawIOBase):
    """Chunks of any size as a file; an error of their iterator is passed on."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    @override
    def readable(self) -> bool:
        return True

    @override
    def read(self, size: int = -1, /) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = chunk
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece
