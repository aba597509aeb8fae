"""Decompress input files as they arrive, in bounded memory."""

import shlex
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from batchchat.jobs.errors import InputFileError, InputTooLargeError
from batchchat.jobs.requests.gzip_decoder import GZIP_MAGIC, gunzip
from batchchat.jobs.requests.zstd_decoder import ZSTD_MAGIC, unzstd


class Compression(NamedTuple):
    """A compression: how files begin, end in their names, and are tested."""

    name: str
    magic: bytes
    suffix: str
    command: str


GZIP = Compression("gzip", GZIP_MAGIC, ".gz", "gzip")
ZSTD = Compression("Zstandard", ZSTD_MAGIC, ".zst", "zstd")

_DECODERS = {GZIP: gunzip, ZSTD: unzstd}


def compression_of(head: bytes) -> Compression | None:
    """Return the compression of a file that starts with `head`, None if it has none."""
    return next((one for one in _DECODERS if head.startswith(one.magic)), None)


def plain_name(filename: str) -> str:
    """Return the name of a file without the suffix of a compression."""
    for compression in _DECODERS:
        filename = filename.removesuffix(compression.suffix)
    return filename


def plain_head(head: bytes) -> bytes:
    """Return the beginning of the text of a file that starts with `head`.

    It is b"" if that can't be decompressed; the whole file is checked later.
    """
    compression = compression_of(head)
    if compression is None:
        return head
    try:
        return next(_DECODERS[compression]([head]), b"")
    except (EOFError, ValueError):
        return b""


def decompress(
    chunks: Iterable[bytes], compression: Compression, source: str, max_bytes: int
) -> Iterator[bytes]:
    """Yield the text of a compressed file in pieces of up to 1 MiB.

    `source` names the file in errors.

    Raises:
        InputFileError: the data is truncated or damaged.
        InputTooLargeError: the text has more than `max_bytes`.

    """
    name, size = compression.name, 0
    test = f"{compression.command} -t {shlex.quote(source)}"
    again = f"test it: `{test}`; then copy it again"
    try:
        for piece in _DECODERS[compression](chunks):
            size += len(piece)
            if size > max_bytes:
                raise InputTooLargeError(
                    f"`{source}` decompresses to more than {max_bytes:,} bytes",
                    hint="split it, or raise BATCHCHAT_MAX_FILE_BYTES",
                )
            yield piece
    except EOFError:
        message = f"`{source}` is truncated: its {name} data ends too early"
        raise InputFileError(message, hint=again) from None
    except ValueError as error:
        message = f"the {name} data of `{source}` is damaged: {error}"
        raise InputFileError(message, hint=again) from None
