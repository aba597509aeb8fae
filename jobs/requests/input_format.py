"""Read an input file as JSON lines, or say which other format it has."""

import csv
import shlex
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from json import JSONDecoder
from typing import NamedTuple

import msgspec

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.requests.csv_text import csv_lines, delimiter_of
from batchchat.jobs.requests.decompression import (
    GZIP,
    ZSTD,
    Compression,
    compression_of,
    decompress,
    plain_head,
)
from batchchat.jobs.requests.line_reader import BOM
from batchchat.jobs.requests.row_hint import row_hint

HEAD_BYTES = 64 * 1024
"""Bytes at the start of a file by which its format is recognized."""


class _Format(NamedTuple):
    """A format that is no JSON lines.

    `command` makes requests of it, with `{}` for the file; None if it is a table, and
    then `columns` are those that are known.
    """

    description: str
    command: str | None = None
    columns: tuple[str, ...] = ()


_ICONV = "iconv -f {encoding} -t UTF-8 {{}} > requests.jsonl"
_MAX_COLUMNS = 12
_ARRAY = _Format("a JSON array", "jq -c '.[]' {} > requests.jsonl")
_PRETTY = _Format("pretty-printed JSON", "jq -c . {} > requests.jsonl")
_COMMAS = _Format(
    "JSON with a comma after each line",
    "sed 's/[[:space:]]*,[[:space:]]*$//' {} > requests.jsonl",
)
_RETURNS = _Format(
    "text whose lines end with carriage returns", "tr '\\r' '\\n' < {} > requests.jsonl"
)
_ARCHIVES = {
    b"PK\x03\x04": _Format("a zip archive", "unzip -p {} > requests.jsonl"),
    b"\xfd7zXZ\0": _Format("xz data", "xz -dc {} > requests.jsonl"),
    b"BZh": _Format("bzip2 data", "bzip2 -dc {} > requests.jsonl"),
    b"7z\xbc\xaf\x27\x1c": _Format("a 7z archive", "7z e -so {} > requests.jsonl"),
    GZIP.magic: _Format("compressed twice", "gzip -dc {} > requests.jsonl"),
    ZSTD.magic: _Format("compressed twice", "zstd -dc {} > requests.jsonl"),
}
_TABLES = {
    b"PAR1": _Format("a Parquet file"),
    b"ARROW1": _Format("an Arrow file"),
    b"\xff\xff\xff\xff": _Format("an Arrow stream"),
}
_BY_ENCODING = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"{\0\0\0": "UTF-32LE",
    b"{\0": "UTF-16LE",
    b"[\0": "UTF-16LE",
    b"\0{": "UTF-16BE",
    b"\0[": "UTF-16BE",
}


def plain_lines(
    chunks: Iterable[bytes], source: str, max_bytes: int
) -> Iterator[bytes]:
    """Yield the bytes of a file of requests; gzip and Zstandard are decompressed.

    It takes bounded memory. `source` names the file in errors, and `max_bytes` limits
    what it decompresses to.

    Raises:
        InputFileError: the file has another format, which the error names; or its
            compressed data is truncated, damaged or too large.

    """
    return _plain(chunks, source, max_bytes, _other_format)


def plain_upload(
    chunks: Iterable[bytes], source: str, max_bytes: int
) -> Iterator[bytes]:
    """Yield the bytes of a file of requests or rows; see `plain_lines`."""
    return _plain(chunks, source, max_bytes, _archive)


def check_format(head: bytes, source: str) -> None:
    """Raise `InputFileError` unless a file that starts with `head` may be JSON lines.

    The file may be compressed. Wrong lines are no matter of this check: the planner
    reports each of them.
    """
    found = _other_format(plain_head(head))
    _refuse(found, source, compression_of(head))


def check_upload(head: bytes, source: str) -> None:
    """Raise `InputFileError` if such a file holds neither requests nor rows."""
    _refuse(_archive(plain_head(head)), source, compression_of(head))


def _plain(
    chunks: Iterable[bytes],
    source: str,
    max_bytes: int,
    recognize: Callable[[bytes], _Format | None],
) -> Iterator[bytes]:
    head, rest = _split_head(chunks)
    compression = compression_of(head)
    if compression is not None:
        packed = chain([head], rest)
        head, rest = _split_head(decompress(packed, compression, source, max_bytes))
    _refuse(recognize(head), source, compression)
    if head:
        yield head
    yield from rest


def _refuse(
    found: _Format | None, source: str, compression: Compression | None
) -> None:
    """Raise `InputFileError` if another format was found."""
    if found is None:
        return
    message = f"`{source}` is not a JSONL file of requests, but {found.description}"
    if found.command is None:
        raise InputFileError(message, hint=row_hint(found.columns))
    file = "FILE" if source == "-" else shlex.quote(source)
    command = found.command.format(file)
    if compression is not None:
        unpack = f"{compression.command} -dc {file} > plain"
        command = f"{unpack} && {found.command.format('plain')}"
    raise InputFileError(message, hint=f"convert it: `{command}`")


def _split_head(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    rest, head = iter(chunks), b""
    while len(head) < HEAD_BYTES and (chunk := next(rest, None)) is not None:
        head += chunk
    return head, rest


def _archive(head: bytes) -> _Format | None:
    return _starting(_ARCHIVES, head)


def _starting(formats: dict[bytes, _Format], head: bytes) -> _Format | None:
    return next((one for magic, one in formats.items() if head.startswith(magic)), None)


def _other_format(head: bytes) -> _Format | None:
    """Return the format of a file that starts with `head` unless it is JSON lines."""
    found = _archive(head) or _starting(_TABLES, head)
    if found is not None:
        return found
    for start, encoding in _BY_ENCODING.items():
        if head.startswith(start):
            return _Format(f"{encoding} text", _ICONV.format(encoding=encoding))
    return _other_text(head.removeprefix(BOM).lstrip())


def _other_text(text: bytes) -> _Format | None:
    first, line_feed, rest = text.partition(b"\n")
    first = first.rstrip()
    is_continued = not rest.lstrip().startswith(b"{")
    if text.startswith(b"["):
        return _array(text) if is_continued or not _is_json(first) else None
    if not text.startswith(b"{"):
        return None if _is_json(first) else _delimited(text)
    if line_feed and first.endswith(b",") and _is_json(first[:-1]):
        return _COMMAS
    first_of_returns, _, others = text.partition(b"\r")
    if b"\n" not in text and others.strip() and _is_json(first_of_returns):
        return _RETURNS
    is_pretty = line_feed and is_continued and _is_incomplete(first)
    return _PRETTY if is_pretty else None


def _array(text: bytes) -> _Format:
    """Return an array of rows if its first item is an object and no request."""
    try:
        item, _ = JSONDecoder().raw_decode(text[1:].decode(errors="replace").lstrip())
    except (ValueError, RecursionError):
        return _ARRAY
    if not isinstance(item, dict) or _REQUEST_KEYS & item.keys():
        return _ARRAY
    return _table("a JSON array of rows", tuple(item))


_REQUEST_KEYS = {"body", "messages", "url"}


def _table(description: str, columns: tuple[str, ...]) -> _Format:
    shown = ", ".join(f"`{column[:40]}`" for column in columns[:_MAX_COLUMNS])
    return _Format(f"{description} with the columns {shown}", columns=columns)


def _delimited(text: bytes) -> _Format | None:
    """Return CSV or TSV if most rows have the same number of fields."""
    decoded = text.decode(errors="replace")
    delimiter = delimiter_of(decoded, "", is_whole=len(text) < HEAD_BYTES // 2)
    if delimiter is None:
        return None
    columns = next(csv.reader(csv_lines(iter([decoded])), delimiter=delimiter), [])
    name = "".join(columns)
    if not name.isprintable() or "\ufffd" in name:
        return None
    return _table("TSV" if delimiter == "\t" else "CSV", tuple(columns))


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _is_incomplete(text: bytes) -> bool:
    """Return whether `text` is the beginning of JSON."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        return "truncated" in str(error)
    return False
