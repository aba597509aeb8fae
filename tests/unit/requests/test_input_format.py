"""Input files that are compressed, or in another format than JSON lines."""

import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from shutil import which

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.requests.input_format import plain_lines

ROWS = [
    {"custom_id": f"r{n}", "messages": [{"role": "user", "content": f"zwölf {n}"}]}
    for n in range(3)
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
TEXT = LINES.decode()


def read(data, *, step=4096, limit=1 << 20, source="in.data"):
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    return b"".join(plain_lines(pieces, source, limit))


@given(st.binary(max_size=200_000), st.integers(1, 5_000), st.integers(1, 3))
def test_gzip_is_decompressed_wherever_its_bytes_are_split(data, step, members):
    lines = b'{"a":1}\n' + data.replace(b"\0", b"")
    packed = gzip.compress(lines) * members
    assert read(packed, step=step) == lines * members


def test_gzip_may_be_padded_with_zeros():
    assert read(gzip.compress(LINES) + bytes(512)) == LINES


def test_an_empty_file_is_no_error():
    assert read(b"") == read(gzip.compress(b"")) == b""


@pytest.mark.parametrize("end", [2, 9, 30, -9, -1])
@pytest.mark.parametrize("step", [1, 4096])
def test_truncated_gzip_is_an_error(end, step):
    data = gzip.compress(LINES * 100)[:end]
    with pytest.raises(InputFileError, match=r"`in\.data`.*truncated"):
        read(data, step=step)


def test_damaged_gzip_is_an_error():
    data = bytearray(gzip.compress(LINES * 100))
    data[len(data) // 2] ^= 255
    for broken in (bytes(data), gzip.compress(LINES) + b"rest"):
        with pytest.raises(InputFileError, match=r"gzip data of `in\.data`"):
            read(broken)


def test_gzip_is_limited_in_size_and_memory():
    data = gzip.compress(bytes(50_000_000).replace(b"\0", b" "))
    with pytest.raises(InputFileError, match="1,048,576 bytes") as caught:
        read(data)
    assert "BATCHCHAT_MAX_FILE_BYTES" in str(caught.value.hint)


def test_data_that_decompresses_to_gzip_is_named():
    with pytest.raises(InputFileError, match="compressed twice"):
        read(gzip.compress(gzip.compress(LINES)))


def zipped():
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("in.jsonl", LINES)
    return sink.getvalue()


def as_parquet():
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(ROWS), sink)
    return sink.getvalue()


def as_zstd():
    return pa.compress(LINES, codec="zstd", asbytes=True)


PRETTY = "\n".join(json.dumps(row, indent=2) for row in ROWS).encode()
LONG = json.dumps([{"custom_id": "a", "content": "x" * 200_000}], indent=1).encode()[
    1:-2
]
FORMATS = {
    "zip": (zipped(), "zip", "unzip"),
    "zstd": (as_zstd(), "Zstandard", "zstd"),
    "xz": (lzma.compress(LINES), "xz", "xz"),
    "utf-16": (TEXT.encode("utf-16"), "UTF-16", "iconv"),
    "utf-16-be": (b"\xfe\xff" + TEXT.encode("utf-16-be"), "UTF-16", "iconv"),
    "utf-16-le without mark": (TEXT.encode("utf-16-le"), "UTF-16", "iconv"),
    "utf-16-be without mark": (TEXT.encode("utf-16-be"), "UTF-16", "iconv"),
    "utf-32": (TEXT.encode("utf-32"), "UTF-32", "iconv"),
    "array": (json.dumps(ROWS).encode(), "JSON array", "jq"),
    "pretty array": (b"\n " + json.dumps(ROWS, indent=1).encode(), "JSON array", "jq"),
    "array on several lines": (
        b"[" + LINES.rstrip().replace(b"\n", b",\n") + b"]\n",
        "JSON array",
        "jq",
    ),
    "array with mark": (
        b"\xef\xbb\xbf" + json.dumps(ROWS).encode(),
        "JSON array",
        "jq",
    ),
    "pretty-printed": (PRETTY, "pretty-printed JSON", "jq"),
    "pretty-printed, CRLF": (PRETTY.replace(b"\n", b"\r\n"), "pretty-printed", "jq"),
    "pretty-printed, long": (LONG, "pretty-printed JSON", "jq"),
    "commas": (LINES.replace(b"\n", b",\n"), "comma", "sed"),
    "commas, CRLF": (LINES.replace(b"\n", b" ,\r\n"), "comma", "sed"),
    "carriage returns": (LINES.replace(b"\n", b"\r"), "carriage returns", "tr"),
    "parquet": (as_parquet(), "Parquet", "pandas"),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("compressed", [False, True])
def test_another_format_is_one_error_that_names_it_and_a_command(name, compressed):
    data, expected, command = FORMATS[name]
    with pytest.raises(InputFileError) as caught:
        read(gzip.compress(data) if compressed else data, step=1_000)
    assert expected in caught.value.message
    assert "`in.data`" in caught.value.message
    assert command in str(caught.value.hint)


@pytest.mark.slow
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_the_command_converts_the_file(name, compressed, tmp_path, monkeypatch):
    data, _, tool = FORMATS[name]
    if tool != "pandas" and which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    if name == "pretty-printed, long":
        pytest.skip("not a whole file")
    if compressed:
        data = gzip.compress(data)
    (tmp_path / "in put.data").write_bytes(data)
    with pytest.raises(InputFileError) as caught:
        read(data, source="in put.data")
    command = str(caught.value.hint).partition("`")[2].rpartition("`")[0]
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", str(scripts), prepend=os.pathsep)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)  # noqa: S602
    converted = read((tmp_path / "requests.jsonl").read_bytes()).decode()
    assert [json.loads(line) for line in converted.splitlines()] == ROWS


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + LINES,
        b"\n\r\n" + LINES,
        LINES.replace(b"\n", b"\r\n"),
        LINES.rstrip(),
        b'{"a": "' + b"x" * 300_000 + b'"}\n' + LINES,
        b'{"a": \n' + LINES,
        b'{"a": 1}, {"b": 2}\n' + LINES,
        b"not JSON\n" + LINES,
        b"[1]\n" + LINES,
        LINES + b"[1]\n{\n",
    ],
)
def test_lines_are_passed_on_unchanged(data):
    assert read(data) == data


TABLES = {
    "CSV": (b'question,answer\n"a, b",c\n', ["question", "answer"]),
    "CSV with semicolons": (b"question;answer\na;b\nc;d\n", ["question", "answer"]),
    "TSV": (b"id\tquestion\n1\ta, b\n", ["id", "question"]),
    "quoted CSV": (b'"my question","answer"\n"a","b"\n', ["my question", "answer"]),
}


@pytest.mark.parametrize(("data", "columns"), TABLES.values(), ids=TABLES)
def test_a_table_is_one_error_that_names_its_columns(
    data, columns, tmp_path, monkeypatch
):
    with pytest.raises(InputFileError) as caught:
        read(data)
    named = ", ".join(f"`{column}`" for column in columns)
    assert f"SV with the columns {named}" in caught.value.message
    monkeypatch.chdir(tmp_path)
    Path("in.data").write_bytes(data)
    assert caught.value.hint is not None
    command = caught.value.hint.removeprefix("convert it: `").removesuffix("`")
    command = command.replace("python ", f"{sys.executable} ", 1)
    subprocess.run(command, shell=True, check=True)  # noqa: S602
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    assert [list(row) for row in rows] == [columns] * (data.count(b"\n") - 1)


@pytest.mark.parametrize(
    "data",
    [
        b"hello\nworld\n",
        b"hello, you\nworld\n",
        b"a,b\n" + LINES,
        b'"a, b"\n"c, d"\n',
        b"a,b",
        b"\x01,\x02\n\x03,\x04\n",
        b"\xff,\xfe\n\xff,\xfe\n",
    ],
)
def test_other_text_is_no_table(data):
    assert read(data) == data
