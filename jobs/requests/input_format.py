"""Read an input file as JSON lines, or say which other format it has."""

import csv
import shlex
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import msgspec

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.requests.decompression import (
    GZIP,
    ZSTD,
    Compression,
    compression_of,
    decompress,
    plain_head,
)
from batchchat.jobs.requests.line_reader import BOM

HEAD_BYTES = 64 * 1024
"""Bytes at the start of a file by which its format is recognized."""


class _Format(NamedTuple):
    """A format that is no JSON lines; `{}` stands for the file in `command`."""

    description: str
    command: str


_ICONV = "iconv -f {encoding} -t UTF-8 {{}} > requests.jsonl"
_PANDAS = (
    'python -c "import pandas, sys; pandas.read_parquet(sys.argv[1]).to_json('
    "'requests.jsonl', orient='records', lines=True)\" {}"
)
_READ_CSV = (
    'python -c "import pandas, sys; pandas.read_csv(sys.argv[1], sep={separator})'
    ".to_json('rows.jsonl', orient='records', lines=True)\" {{}}"
)
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
_BY_MAGIC = {
    b"PK\x03\x04": _Format("a zip archive", "unzip -p {} > requests.jsonl"),
    b"\xfd7zXZ\0": _Format("xz data", "xz -dc {} > requests.jsonl"),
    b"BZh": _Format("bzip2 data", "bzip2 -dc {} > requests.jsonl"),
    b"7z\xbc\xaf\x27\x1c": _Format("a 7z archive", "7z e -so {} > requests.jsonl"),
    b"PAR1": _Format("a Parquet file", _PANDAS),
    GZIP.magic: _Format("compressed twice", "gzip -dc {} > requests.jsonl"),
    ZSTD.magic: _Format("compressed twice", "zstd -dc {} > requests.jsonl"),
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
    """Yield the bytes of an input file; gzip and Zstandard are decompressed.

    It takes bounded memory. `source` names the file in errors, and `max_bytes` limits
    what it decompresses to.

    Raises:
        InputFileError: the file has another format, which the error names; or its
            compressed data is truncated, damaged or too large.

    """
    head, rest = _split_head(chunks)
    compression = compression_of(head)
    if compression is not None:
        packed = chain([head], rest)
        head, rest = _split_head(decompress(packed, compression, source, max_bytes))
    _check_format(head, source, compression)
    if head:
        yield head
    yield from rest


def check_format(head: bytes, source: str) -> None:
    """Raise `InputFileError` unless a file that starts with `head` may be JSON lines.

    The file may be compressed. Wrong lines are no matter of this check: the planner
    reports each of them.
    """
    _check_format(plain_head(head), source, compression_of(head))


def _check_format(text: bytes, source: str, compression: Compression | None) -> None:
    found = _other_format(text)
    if found is None:
        return
    file = "FILE" if source == "-" else shlex.quote(source)
    command = found.command.format(file)
    if compression is not None:
        unpack = f"{compression.command} -dc {file} > plain"
        command = f"{unpack} && {found.command.format('plain')}"
    raise InputFileError(
        f"`{source}` is not a JSONL file, but {found.description}",
        hint=f"convert it: `{command}`",
    )


def _split_head(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    rest, head = iter(chunks), b""
    while len(head) < HEAD_BYTES and (chunk := next(rest, None)) is not None:
        head += chunk
    return head, rest


def _other_format(head: bytes) -> _Format | None:
    """Return the format of a file that starts with `head` unless it is JSON lines."""
    for magic, found in _BY_MAGIC.items():
        if head.startswith(magic):
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
        return _ARRAY if is_continued or not _is_json(first) else None
    if not text.startswith(b"{"):
        return _delimited(first, rest)
    if line_feed and first.endswith(b",") and _is_json(first[:-1]):
        return _COMMAS
    first_of_returns, _, others = text.partition(b"\r")
    if b"\n" not in text and others.strip() and _is_json(first_of_returns):
        return _RETURNS
    is_pretty = line_feed and is_continued and _is_incomplete(first)
    return _PRETTY if is_pretty else None


def _delimited(first: bytes, rest: bytes) -> _Format | None:
    """Return CSV or TSV if the first two lines have the same number of columns."""
    second = rest.partition(b"\n")[0].strip()
    for delimiter, name in ((b"\t", "TSV"), (b",", "CSV"), (b";", "CSV")):
        columns = _split(first, delimiter)
        if len(columns) > 1 and len(columns) == len(_split(second, delimiter)):
            shown = ", ".join(f"`{column[:40]}`" for column in columns[:_MAX_COLUMNS])
            command = _READ_CSV.format(separator=repr(delimiter.decode()))
            return _Format(f"{name} with the columns {shown}", command)
    return None


def _split(line: bytes, delimiter: bytes) -> list[str]:
    """Return the fields of a line, none if it is JSON or no text."""
    try:
        text = line.decode()
        if _is_json(line) or not text.replace("\t", "").isprintable():
            return []
        return next(csv.reader([text], delimiter=delimiter.decode()), [])
    except (UnicodeDecodeError, csv.Error):
        return []


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
