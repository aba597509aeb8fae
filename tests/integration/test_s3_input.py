"""An input that lies in a bucket, by the commands and by a server of its own."""

import gzip
import json
import os
import subprocess
import sys

import pytest

from batchchat.jobs.errors import ConfigError, InputFileError, StorageError
from batchchat.jobs.storage.s3.object import open_object
from tests.support.servers.s3_server import BUCKET, PLAIN, credentials
from tests.support.servers.tcp_proxy import tcp_proxy

KEY = "in put/ü?#.jsonl"
URL = f"s3://{BUCKET}/{KEY}"
BIG = b"".join(b"%d\n" % number for number in range(300_000))


def line(number):
    body = {"model": "demo", "messages": [{"role": "user", "content": "x" * number}]}
    return json.dumps({"custom_id": f"q-{number}"} | body).encode() + b"\n"


GOOD = b"".join(map(line, range(1, 40)))


@pytest.fixture(params=["moto", "swift"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def stored(server):
    def stored(data, key=KEY):
        server.client.put_object(Bucket=BUCKET, Key=key, Body=data)

    return stored


@pytest.fixture
def command(server, tmp_path):
    theirs = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    settings = {
        "AWS_ACCESS_KEY_ID": server.key,
        "AWS_SECRET_ACCESS_KEY": server.secret,
        "BATCHCHAT_S3_ENDPOINT": f"http://127.0.0.1:{server.port}",
        "BATCHCHAT_STORAGE": str(tmp_path / "storage"),
    }

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "batchchat", *arguments],
            env=theirs | PLAIN | settings,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def opened(server, url=URL, port=None):
    endpoint = f"http://127.0.0.1:{port or server.port}"
    with credentials(server.key, server.secret):
        return open_object(url, endpoint, path_style=None)


def test_an_object_is_read_from_any_offset(server, stored):
    stored(BIG)
    with opened(server) as file:
        assert file.size == len(BIG)
        assert file.readall() == BIG
        for place in (0, 1, 70_000, len(BIG) - 1, len(BIG)):
            assert file.seek(place) == place
            assert file.readall() == BIG[place:]
        assert file.read(1) == b""
        assert file.seek(-2, os.SEEK_END) == len(BIG) - 2


def test_reading_resumes_after_a_cut_connection(server, stored):
    stored(BIG)
    with tcp_proxy(server.port) as proxy:
        proxy.response_cuts = [1_000_000, 700_000]
        with opened(server, port=proxy.port) as file:
            assert file.readall() == BIG
        assert proxy.connections == 3


def test_an_empty_object_is_an_empty_file(server, stored):
    stored(b"")
    with opened(server) as file:
        assert (file.size, file.readall()) == (0, b"")


@pytest.mark.parametrize("url", ["s3://", "s3://b", "s3://bucket/", "s3:///key"])
def test_a_url_without_an_object_is_an_error(url):
    with pytest.raises(InputFileError, match="does not name an object"):
        open_object(url, None, path_style=None)


def test_missing_objects_and_buckets_are_errors(server):
    with pytest.raises(InputFileError, match="there is no object"):
        opened(server, f"s3://{BUCKET}/nothing.jsonl")
    with pytest.raises(StorageError, match="nobucket"):
        opened(server, "s3://nobucket/x.jsonl")
    with pytest.raises(ConfigError, match="BATCHCHAT_S3_ENDPOINT"):
        open_object(URL, "no url", path_style=None)


def test_a_file_in_a_bucket_is_validated_rendered_and_submitted(command, stored):
    stored(GOOD)
    assert "39 requests" in command("validate", URL).stderr
    done = command("render", URL, "--json")
    assert len(done.stdout.splitlines()) == 39, done.stderr
    counted = json.loads(command("estimate", URL, "--json").stdout)
    assert counted["request_counts"]["total"] == 39
    done = command("submit", URL, "--no-wait")
    assert done.returncode == 0, done.stderr
    batch = json.loads(command("status", done.stdout.strip(), "--json").stdout)
    assert batch["status"] == "validating"


def test_a_compressed_file_in_a_bucket_is_decompressed(command, stored):
    stored(gzip.compress(GOOD))
    assert "39 requests" in command("validate", URL).stderr
    done = command("submit", URL, "--no-wait")
    assert done.returncode == 0, done.stderr
    stored(gzip.compress(GOOD)[:-10])
    done = command("submit", URL, "--no-wait")
    assert done.returncode == 2
    assert "truncated" in done.stderr


def test_errors_of_a_bucket_show_no_traceback(command):
    for url in (f"s3://{BUCKET}/no.jsonl", "s3://nobucket/x", "s3://x"):
        done = command("submit", url, "--model", "demo")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
