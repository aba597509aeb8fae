"""Recognize the format of a file of rows by its content."""

import weakref
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.requests.csv_text import delimiter_of
from batchchat.jobs.requests.decompression import (
    Compression,
    compression_of,
    decompress,
)
from batchchat.jobs.requests.input_format import HEAD_BYTES
from batchchat.jobs.rows.arrow_rows import FILE_MAGIC, STREAM_MAGIC, ArrowRows
from batchchat.jobs.rows.column_types import with_usable_columns
from batchchat.jobs.rows.csv_rows import CsvRows
from batchchat.jobs.rows.json_rows import JsonRows
from batchchat.jobs.rows.parquet_rows import ParquetRows
from batchchat.jobs.rows.row_reader import RowReader, SeekableBinary
from batchchat.jobs.rows.text_file import TextFile
from batchchat.jobs.settings import load_settings
from batchchat.jobs.storage.protocol import CHUNK_BYTES

ACCEPTED = "Parquet, Arrow, CSV, TSV, JSON lines or a JSON array"

PARQUET_MAGIC = b"PAR1"
_OTHERS = {
    b"PARE": ("an encrypted Parquet file", "write it without encryption"),
    b"FEA1": (
        "a Feather file of version 1",
        "write it as version 2: `pyarrow.feather.write_feather(table, FILE)`",
    ),
    b"PK\x03\x04": (
        "a zip archive or a spreadsheet",
        "unpack it, or save the sheet as CSV in UTF-8",
    ),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "save the sheet as CSV in UTF-8"),
    b"\xfd7zXZ\0": ("xz data", "decompress it: `xz -d FILE`"),
    b"BZh": ("bzip2 data", "decompress it: `bzip2 -d FILE`"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it: `7z e FILE`"),
    b"\x04\x22\x4d\x18": ("lz4 data", "decompress it: `lz4 -d FILE`"),
    b"ORC": ("an ORC file", "convert it: `pyarrow.orc.read_table(FILE)`"),
    b"Obj\x01": ("an Avro file", "convert it to Parquet"),
    b"SQLite format 3\0": ("a SQLite database", "export the table as CSV"),
    b"\x89HDF": ("an HDF5 file", "convert it to Parquet"),
    b"%PDF": ("a PDF", "put its text into a table"),
}
_TAR_AT, _TAR_MAGIC = 257, b"ustar"


def reader_of(file: SeekableBinary, name: str) -> RowReader:
    """Return a reader of the rows in `file`. Raises `InputFileError`."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    compression = compression_of(head)
    if compression is None:
        return _reader(file, name, head)
    copy = cast("BinaryIO", TemporaryFile())  # noqa: SIM115 - the reader closes it
    try:
        head = _decompress(file, compression, name, copy)
        reader = _reader(copy, name, head)
    except BaseException:
        copy.close()
        raise
    weakref.finalize(reader, copy.close)
    return reader


def _decompress(
    file: SeekableBinary, compression: Compression, name: str, copy: BinaryIO
) -> bytes:
    """Write the plain file to `copy`, and return its first bytes."""
    file.seek(0)
    chunks = iter(lambda: file.read(CHUNK_BYTES), b"")
    limit = load_settings().max_file_bytes
    copy.writelines(decompress(chunks, compression, name, limit))
    copy.seek(0)
    head = copy.read(HEAD_BYTES)
    if compression_of(head):
        hint = f"decompress it once: `{compression.command} -d FILE`"
        raise InputFileError(f"`{name}` is compressed twice", hint=hint)
    return head


def _reader(file: SeekableBinary, name: str, head: bytes) -> RowReader:
    for magic, (description, hint) in _OTHERS.items():
        if head.startswith(magic):
            raise _not_a_table(name, description, hint)
    if head[_TAR_AT:].startswith(_TAR_MAGIC):
        raise _not_a_table(name, "a tar archive", "unpack it: `tar -xf FILE`")
    file.seek(0)
    try:
        reader = _typed_reader(file, name, head) or _text_reader(file, name, head)
        return with_usable_columns(reader, name)
    except UnicodeDecodeError:
        raise InputFileError(
            f"`{name}` is damaged: names of its columns or types are not UTF-8",
            hint="write the file again, or copy it again",
        ) from None


def _typed_reader(file: SeekableBinary, name: str, head: bytes) -> RowReader | None:
    if head.startswith(PARQUET_MAGIC):
        return ParquetRows(file, name)
    is_stream = head.startswith(STREAM_MAGIC)
    if is_stream or head.startswith(FILE_MAGIC):
        return ArrowRows(file, name, is_stream=is_stream)
    return None


def _text_reader(file: SeekableBinary, name: str, head: bytes) -> RowReader:
    source = TextFile(file, name, head)
    text = source.head
    start = text.lstrip()[:1]
    if not start:
        raise InputFileError(f"`{name}` is empty", hint=f"rows are {ACCEPTED}")
    if start in "{[":
        return JsonRows(source, text.encode())
    delimiter = delimiter_of(text, name, is_whole=len(head) < HEAD_BYTES)
    if delimiter is None:
        what = "text" if text.isprintable() or "\0" not in text else "binary data"
        hint = f"use {ACCEPTED}; name a CSV file with one column `….csv`"
        raise _not_a_table(name, f"{what} of an unknown format", hint)
    return CsvRows(source, delimiter)


def _not_a_table(name: str, description: str, hint: str) -> InputFileError:
    return InputFileError(
        f"`{name}` is {description}, which has no rows that can be read", hint=hint
    )
