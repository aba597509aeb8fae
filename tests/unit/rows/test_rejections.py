"""Rows that can't be read: the error names the file, the row, the column and a way."""

import gzip
import io
import tarfile
import zipfile

import pyarrow as pa
import pytest

from batchchat.jobs.errors import InputFileError
from tests.support.row_files import (
    COMPRESSIONS,
    as_arrow,
    as_lines,
    as_parquet,
    read,
    zstd,
)

GOOD = as_lines([{"id": n, "text": "a" * 50} for n in range(3_000)])


def zipped():
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("rows.csv", "a,b\n1,2\n")
    return sink.getvalue()


def tarred():
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("rows.csv"))
    return sink.getvalue()


TABLE = pa.table({"a": ["x" * 1000] * 1000})
REJECTED = {
    "empty": (b"", "empty"),
    "space": (b" \n\n", "empty"),
    "prose": (b"Tell me a joke.\nAnd another one\n", "unknown format"),
    "binary": (bytes(range(256)) * 9, "unknown format"),
    "zip": (zipped(), "zip archive or a spreadsheet"),
    "tar": (tarred(), "tar archive"),
    "xz": (b"\xfd7zXZ\0rest", "xz data"),
    "ORC": (b"ORC rest", "ORC"),
    "Avro": (b"Obj\x01rest", "Avro"),
    "SQLite": (b"SQLite format 3\0rest", "SQLite"),
    "old Feather": (b"FEA1rest", "version 1"),
    "encrypted Parquet": (b"PARErest", "encrypted"),
    "damaged Parquet": (b"PAR1" + bytes(99), "damaged Parquet"),
    "truncated Parquet": (as_parquet(TABLE)[:-9], "damaged Parquet"),
    "truncated Arrow file": (as_arrow(TABLE)[:-9], "row 1: the Arrow data"),
    "truncated Arrow stream": (
        as_arrow(TABLE, pa.ipc.new_stream, max_chunksize=10)[:-5_000],
        "row 991: the Arrow data",
    ),
    "twice": (zstd(gzip.compress(GOOD)), "compressed twice"),
    "truncated gzip": (gzip.compress(GOOD)[:-9], "truncated"),
    "truncated Zstandard": (zstd(GOOD)[:-9], "truncated"),
    "bad line": (GOOD + b'\n{"id": 1,}\n', "row 3,001 (line 3,002): it is not valid"),
    "cut line": (GOOD[:-9], "row 3,000: it is not valid JSON"),
    "text": (GOOD + b"rest\n", "row 3,001: it is not valid JSON"),
    "array in lines": (GOOD + b"[1]\n", "row 3,001: it is an array, expected an obj"),
    "number in lines": (GOOD + b"1\n", "row 3,001: it is a number, expected an object"),
    "null in lines": (GOOD + b"null\n", "row 3,001: it is null, expected an object"),
    "NaN": (GOOD + b'{"a": NaN}\n', "row 3,001: it is not valid JSON"),
    "surrogate": (GOOD + b'{"a": "\\ud800"}\n', "row 3,001: it is not valid JSON"),
    "Latin-1 line": (GOOD + b'{"a": "\xe9"}\n', "row 3,001: it is not"),
    "deep line": (GOOD + b'{"a":' + b"[" * 99_999 + b"\n", "row 3,001: it is nested"),
    "long line": (GOOD + b'{"a": "' + b"x" * (17 << 20), "row 3,001: it is longer"),
    "items": (b'[{"a": 1}, 2]', "row 2: it is a number"),
    "deep item": (b'[{"a": 1}, ' + b"[" * 99_999, "row 2: it is nested"),
    "open array": (b'[{"a": 1}, {"a": 2}', "row 2: the file ends within its array"),
    "cut array": (b'[{"a": 1}, {"a": 2', "row 2: invalid JSON"),
    "closed array": (b'[{"a": 1}] {"a": 2}', "row 1: the file continues"),
    "Latin-1 array": (b'[{"a": "\xe9"}]', "UTF-8"),
    "cut UTF-16": ('{"a": "b"}\n'.encode("utf-16")[:-1], "UTF-16"),
    "short record": (b"a,b\n1,2\n3\n", "row 2 (line 3): it has 1 field,"),
    "long record": (b'a,b\n"1\n",2\n3,4,5\n', "row 2 (line 4): it has 3 fields"),
    "open quote": (b'a,b\n1,2\n"3,4\n5,6\n', "row 2 (line 3): a quote is opened"),
    "text after a quote": (b'a,b\n1,"2" x\n', "row 1 (line 2): a quoted field"),
    "backslashes": (b'a,b\n1,"2 \\"x\\" "\n', "row 1 (line 2): a quoted field"),
    "Latin-1": (
        b"a,b\n" + b"1,2\n" * 9_999 + b"3,\xe9t\xe9\n",
        "row 10,000 (line 10,001), column `b`: the byte 0xe9 is not UTF-8",
    ),
    "same names": (b"a,b,a\n1,2,3\n", "several columns with the name `a`"),
    "type": (
        as_arrow(pa.table({"ok": ["a"], "r": pa.array(["a"]).dictionary_encode()})
                 .append_column("u", pa.array([None], pa.month_day_nano_interval()))),
        "column `u`: its type `month_day_nano_interval`",
    ),
    "list views": (
        as_arrow(pa.table({"u": pa.array([[1]], pa.list_view(pa.int8()))})),
        "column `u`: its type `list_view<item: int8>`",
    ),
    "scale": (
        as_arrow(pa.table({"u": pa.array([None], pa.decimal128(5, -2))})),
        "column `u`: its type `decimal128(5, -2)`",
    ),
    "a name in Parquet": (
        as_parquet(pa.table({"né": [1]})).replace("né".encode(), b"n\xe9e"),
        "not UTF-8",
    ),
    "a name in Arrow": (
        as_arrow(pa.table({"né": [1]})).replace("né".encode(), b"n\xe9e"),
        "not UTF-8",
    ),
    "requests": (
        as_lines([{"custom_id": "1", "method": "POST", "url": "/", "body": {"a": 1}}]),
        "holds requests",
    ),
    "names in Parquet": (
        as_parquet(pa.Table.from_arrays([pa.array([1])] * 2, ["a", "a"])),
        "several columns with the name `a`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("pack", COMPRESSIONS.values(), ids=COMPRESSIONS)
@pytest.mark.parametrize("name", REJECTED)
def test_what_can_not_be_read_is_named(name, pack):
    data, words = REJECTED[name]
    if (
        name.startswith(("twice", "truncated gzip", "truncated Z"))
        and pack is not bytes
    ):
        pytest.skip("it is compressed already")
    with pytest.raises(InputFileError) as caught:
        read(pack(data), "in.data")
    assert "`in.data`" in caught.value.message
    assert words in caught.value.message
    assert caught.value.hint
    assert "pyarrow" not in caught.value.message
