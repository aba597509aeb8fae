"""Inputs of the commands: files and stdin, compressed or not."""

import gzip
import io
import sys
from types import SimpleNamespace

import pyarrow as pa
import pytest

from batchchat.cli.terminal.input_file import open_input
from batchchat.jobs.errors import InputFileError
from tests.support.ended import bare

LINES = b"".join(bare(str(n)) + b"\n" for n in range(20_000))


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.fixture(params=["file", "stdin"])
def source(request, tmp_path, monkeypatch):
    """Return a function that makes data an input, and returns its name."""

    def make(data):
        if request.param == "stdin":
            stdin = SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(data)))
            monkeypatch.setattr(sys, "stdin", stdin)
            return "-"
        path = tmp_path / "in.jsonl.gz"
        path.write_bytes(data)
        return str(path)

    return make


def test_an_input_is_read_as_it_is_or_decompressed(source):
    for data in (LINES, gzip.compress(LINES), zstd(LINES)):
        with open_input(source(data)) as file:
            file.check_format()
            assert b"".join(file.chunks()) == LINES


def test_the_size_of_a_compressed_text_is_unknown(tmp_path):
    path = tmp_path / "in"
    for data, size in (
        (LINES, len(LINES)),
        (gzip.compress(LINES), None),
        (zstd(LINES), None),
    ):
        path.write_bytes(data)
        with open_input(str(path)) as file:
            assert file.text_size == size
            assert file.size == len(data)


def test_another_format_is_an_error_before_and_while_it_is_read(source):
    for data in (b"[" + LINES, gzip.compress(b"[" + LINES)):
        name = source(data)
        with open_input(name) as file, pytest.raises(InputFileError, match="array"):
            file.check_format()
        with open_input(name) as file, pytest.raises(InputFileError, match="array"):
            list(file.chunks())


def test_a_compressed_input_is_limited_in_size(source, monkeypatch):
    monkeypatch.setenv("BATCHCHAT_MAX_FILE_BYTES", "1000")
    with (
        open_input(source(gzip.compress(LINES))) as file,
        pytest.raises(InputFileError, match="1,000 bytes"),
    ):
        list(file.chunks())
