"""Rows of many objects in a bucket."""

import io

import pyarrow.parquet as pq
import pytest

from batchchat.cli.terminal.row_input import open_row_input
from batchchat.jobs.errors import InputFileError
from batchchat.jobs.rows.row_filter import RowFilter
from tests.support.servers.s3_server import BUCKET, credentials

OBJECTS = {
    "data/a-folder/README.md": b"# no rows",
    "data/a-folder/x.jsonl": b'{"n": 0}\n',
    "data/a.jsonl": b'{"n": 1}\n',
    "data/b c2.csv": b"n\n2\n",
    "data/c.jsonl": b'{"n": 3}\n',
    "data/_tmp/d.jsonl": b'{"n": 4}\n',
}


@pytest.fixture(params=["moto", "swift"])
def objects(request, monkeypatch):
    server = request.getfixturevalue(request.param)
    for key, data in OBJECTS.items():
        server.client.put_object(Bucket=BUCKET, Key=key, Body=data)
    monkeypatch.setenv("BATCHCHAT_S3_ENDPOINT", f"http://127.0.0.1:{server.port}")
    with credentials(server.key, server.secret):
        yield


def read(source):
    with open_row_input([f"s3://{BUCKET}/{source}"], RowFilter()) as file:
        table = pq.read_table(io.BytesIO(b"".join(file.chunks())))
    return table.column("n").to_pylist()


@pytest.mark.usefixtures("objects")
@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("data/", [0, 1, 2, 3]),
        ("data/*.jsonl", [1, 3]),
        ("data/*", [1, 2, 3]),
        ("*/a-folder/*.jsonl", [0]),
        ("data/**/*.jsonl", [4, 0, 1, 3]),
        ("data/b c?.csv", [2]),
        ("data/[ac].jsonl", [1, 3]),
        ("data/b c2.csv", [2]),
    ],
)
def test_rows_are_read_from_all_objects_of_a_prefix_or_glob(source, rows):
    assert read(source) == rows


@pytest.mark.usefixtures("objects")
@pytest.mark.parametrize("source", ["none/", "none/*.jsonl", "data/*.parquet"])
def test_a_prefix_or_glob_without_objects_is_an_error(source):
    with pytest.raises(InputFileError, match="no file") as caught:
        read(source)
    assert f"s3://{BUCKET}/{source}" in caught.value.message
    assert caught.value.hint


@pytest.mark.usefixtures("objects")
@pytest.mark.parametrize("source", ["data", "x y", "*", "none.jsonl"])
def test_a_name_without_rows_is_an_error(source):
    with pytest.raises(InputFileError):
        read(source)
