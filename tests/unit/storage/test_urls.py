"""A mistyped URL is never taken for a path."""

import pytest

from batchchat.cli.terminal.paths import absolute_output
from batchchat.jobs.errors import ConfigError, OutputError
from batchchat.jobs.storage import open_storage
from batchchat.jobs.storage.destination import Destination
from batchchat.jobs.storage.urls import is_url

MISTYPED = [
    "s3:/x",
    "s3:x",
    "S3:/bucket/x",
    "S3://bucket/x",
    "s3:///x",
    "s3a://bucket/x",
    "gs://bucket/x",
    "gs:/bucket",
    "http://host/x",
    "HTTPS://host/x",
    "https:/host/x",
    "file:x",
    "az://container/x",
]
PATHS = [
    "out.jsonl",
    "/srv/out.jsonl",
    "./s3:/x",
    "runs/s3://x",
    "run:1.jsonl",
    "2026-01-01T10:00/out.jsonl",
    "c:/out.jsonl",
    "~/out.jsonl",
    "",
    "-",
]


@pytest.mark.parametrize("text", MISTYPED)
def test_a_mistyped_url_is_not_a_destination(text):
    assert is_url(text)
    with pytest.raises(OutputError):
        absolute_output(text)
    with pytest.raises(OutputError) as caught:
        Destination.parse(text)
    assert "`s3://bucket/prefix/`" in (caught.value.hint or "")


@pytest.mark.parametrize("text", PATHS)
def test_a_path_is_no_url(text):
    assert not is_url(text)


@pytest.mark.parametrize("text", ["gs:/bucket", "http:/host", "s3:x", "s3:/x"])
def test_a_mistyped_url_is_not_a_storage(text):
    with pytest.raises(ConfigError, match="BATCHCHAT_STORAGE"):
        open_storage(text)
