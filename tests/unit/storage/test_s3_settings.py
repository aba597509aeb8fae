"""Settings select the bucket; no request is needed."""

import subprocess
import sys

import pytest

from batchchat.cli.backends.session import open_session
from batchchat.jobs.errors import ConfigError
from batchchat.jobs.storage import open_storage

ENDPOINT = "http://127.0.0.1:9"


def url_of(storage):
    """Return the URL at which boto3 would look for an object."""
    asked = {"Bucket": storage._bucket, "Key": f"{storage._prefix}k"}
    signed = storage._client.generate_presigned_url("get_object", asked)
    return signed.partition("?")[0]


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "geheim")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.mark.parametrize(
    ("setting", "url", "key"),
    [
        ("s3://bucket", "s3://bucket", "bucket/k"),
        ("s3://bucket/", "s3://bucket", "bucket/k"),
        ("s3://my.bucket-1/a/b_c/", "s3://my.bucket-1/a/b_c", "my.bucket-1/a/b_c/k"),
    ],
)
def test_a_setting_names_a_bucket_and_a_prefix(setting, url, key):
    storage = open_storage(setting, s3_endpoint=ENDPOINT)
    assert storage.url == url
    assert url_of(storage) == f"{ENDPOINT}/{key}"


def test_the_bucket_is_in_the_host_at_aws_and_in_the_path_elsewhere():
    storage = open_storage("s3://bucket")
    assert url_of(storage).startswith("https://bucket.s3.")
    elsewhere = open_storage("s3://bucket", s3_endpoint="http://s3.example.org")
    assert url_of(elsewhere) == "http://s3.example.org/bucket/k"
    assert "amazonaws.com/bucket/k" in url_of(
        open_storage("s3://bucket", s3_path_style=True)
    )
    elsewhere = open_storage(
        "s3://bucket", s3_endpoint="http://s3.example.org", s3_path_style=False
    )
    assert url_of(elsewhere) == "http://bucket.s3.example.org/k"


@pytest.mark.parametrize(
    "url",
    [
        *["s3://", "s3:///prefix", "s3://b", "s3://bucket//a", "s3://bucket/../a"],
        *["s3://bucket/a b", "s3://bucket/a?x=1", "s3://bucket/a#x", "s3://a:b"],
        *["s3://key:geheim@bucket/a", "s3://bucket/%20", "s3://bu_cket!"],
        "https://key:geheim@s3.example.org/bucket",
    ],
)
def test_a_url_without_a_bucket_is_a_config_error(url):
    with pytest.raises(ConfigError, match="BATCHCHAT_STORAGE") as raised:
        open_storage(url)
    assert "geheim" not in f"{raised.value} {raised.value.hint}"


@pytest.mark.parametrize(
    "endpoint",
    ["", "localhost:9000", "ftp://x", "http://", "http://key:geheim@x", "http://x y"],
)
def test_an_endpoint_is_a_url_without_secrets(endpoint):
    with pytest.raises(ConfigError, match="BATCHCHAT_S3_ENDPOINT") as raised:
        open_storage("s3://bucket", s3_endpoint=endpoint)
    assert "geheim" not in f"{raised.value} {raised.value.hint}"


def test_a_missing_aws_profile_is_a_config_error(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "missing")
    with pytest.raises(ConfigError, match="missing"):
        open_storage("s3://bucket")


def test_the_commands_read_the_s3_settings_from_the_environment(monkeypatch):
    monkeypatch.setenv("BATCHCHAT_STORAGE", "s3://bucket/p")
    monkeypatch.setenv("BATCHCHAT_S3_ENDPOINT", "http://s3.example.org")
    assert url_of(open_session().ledger.storage) == "http://s3.example.org/bucket/p/k"
    monkeypatch.setenv("BATCHCHAT_S3_PATH_STYLE", "false")
    assert url_of(open_session().ledger.storage) == "http://bucket.s3.example.org/p/k"


def test_a_folder_needs_no_boto3():
    code = "import sys, batchchat.jobs.storage as s; s.open_storage('/x'); "
    code += "sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
