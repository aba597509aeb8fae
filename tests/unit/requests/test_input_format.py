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


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


PACK = {"gzip": gzip.compress, "Zstandard": zstd}
"""Compressions that are accepted."""


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
@given(st.binary(max_size=200_000), st.integers(1, 5_000), st.integers(1, 3))
def test_a_file_is_decompressed_wherever_its_bytes_are_split(pack, data, step, members):
    lines = b'{"a":1}\n' + data.replace(b"\0", b"")
    assert read(pack(lines) * members, step=step) == lines * members


def test_gzip_may_be_padded_with_zeros():
    assert read(gzip.compress(LINES) + bytes(512)) == LINES


def test_zstandard_may_have_skippable_frames():
    frame = b"\x50\x2a\x4d\x18\x04\0\0\0rest"
    assert read(zstd(LINES) + frame + zstd(LINES) + frame) == LINES * 2


def test_an_empty_file_is_no_error():
    for data in (b"", gzip.compress(b""), zstd(b"")):
        assert read(data) == b""


@pytest.mark.parametrize(("name", "pack"), PACK.items(), ids=PACK)
@pytest.mark.parametrize("end", [4, 9, 20, -9, -1])
@pytest.mark.parametrize("step", [1, 4096])
def test_a_truncated_file_is_an_error(name, pack, end, step):
    data = pack(LINES * 100)[:end]
    with pytest.raises(InputFileError, match=rf"`in\.data`.*truncated.*{name}"):
        read(data, step=step)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


@pytest.mark.parametrize(("name", "pack"), PACK.items(), ids=PACK)
def test_a_damaged_file_is_an_error(name, pack):
    header = flipped(pack(LINES), 5 if name == "Zstandard" else 2)
    for broken in (header, pack(LINES) + b"rest"):
        with pytest.raises(InputFileError, match=rf"{name} data of `in\.data`"):
            read(broken)


def test_gzip_whose_checksum_is_wrong_is_an_error():
    data = gzip.compress(LINES * 100)
    with pytest.raises(InputFileError, match=r"gzip data of `in\.data`"):
        read(flipped(data, len(data) // 2))


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
def test_a_compressed_file_is_limited_in_size_and_memory(pack):
    data = pack(bytes(50_000_000).replace(b"\0", b" "))
    with pytest.raises(InputFileError, match="1,048,576 bytes") as caught:
        read(data)
    assert "BATCHCHAT_MAX_FILE_BYTES" in str(caught.value.hint)


def test_data_that_decompresses_to_compressed_data_is_named():
    for outer in PACK.values():
        for inner in PACK.values():
            with pytest.raises(InputFileError, match="compressed twice"):
                read(outer(inner(LINES)))


def zipped():
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("in.jsonl", LINES)
    return sink.getvalue()


PRETTY = "\n".join(json.dumps(row, indent=2) for row in ROWS).encode()
LONG = json.dumps([{"custom_id": "a", "content": "x" * 200_000}], indent=1).encode()[
    1:-2
]
FORMATS = {
    "zip": (zipped(), "zip", "unzip"),
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
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("pack", [bytes, *PACK.values()])
def test_another_format_is_one_error_that_names_it_and_a_command(name, pack):
    data, expected, command = FORMATS[name]
    with pytest.raises(InputFileError) as caught:
        read(pack(data), step=1_000)
    assert expected in caught.value.message
    assert "`in.data`" in caught.value.message
    assert command in str(caught.value.hint)


@pytest.mark.slow
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_the_command_converts_the_file(name, compressed, tmp_path, monkeypatch):
    data, _, tool = FORMATS[name]
    if which(tool) is None:
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


def as_parquet():
    sink = io.BytesIO()
    parquet.write_table(pa.table({"question": ["a"]}), sink)
    return sink.getvalue()


def as_arrow(new):
    sink = io.BytesIO()
    table = pa.table({"question": ["a"]})
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


QUESTION, COLUMN = "`--prompt '{{ question }}'`", "`--prompt '{{ COLUMN }}'`"
TABLES = {
    "CSV": (
        b'question,answer\n"a, b",c\n',
        "CSV with the columns `question`, `answer`",
        QUESTION,
    ),
    "CSV with semicolons": (b"question;answer\na;b\nc;d\n", "CSV", QUESTION),
    "CSV with line breaks": (
        b'id;question\n1;"What is\n2 + 2;\n\n3?"\n2;b\n',
        "CSV with the columns `id`, `question`",
        QUESTION,
    ),
    "TSV": (b"id\tquestion\n1\ta, b\n", "TSV with the columns `id`", QUESTION),
    "quoted CSV": (b'"my text","answer"\n"a","b"\n', "`my text`, `answer`", COLUMN),
    "Parquet": (as_parquet(), "a Parquet file", COLUMN),
    "Arrow file": (as_arrow(pa.ipc.new_file), "an Arrow file", COLUMN),
    "Arrow stream": (as_arrow(pa.ipc.new_stream), "an Arrow stream", COLUMN),
    "array of rows": (
        b'[\n {"question": "a", "n": [1]},\n {"question": "b"}]',
        "a JSON array of rows with the columns `question`, `n`",
        QUESTION,
    ),
}


@pytest.mark.parametrize("pack", [bytes, *PACK.values()])
@pytest.mark.parametrize(("data", "words", "option"), TABLES.values(), ids=TABLES)
def test_a_table_is_one_error_that_says_how_to_make_requests(data, words, option, pack):
    with pytest.raises(InputFileError) as caught:
        read(pack(data))
    assert "`in.data` is not a JSONL file of requests, but " in caught.value.message
    assert words in caught.value.message
    assert f"make a request of each row: {option}" in str(caught.value.hint)


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
