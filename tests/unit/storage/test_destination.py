"""Allowed and forbidden destinations of results."""

import pytest

from batchchat.jobs.errors import ConfigError, OutputError
from batchchat.jobs.settings import load_settings
from batchchat.jobs.storage.destination import AllowedDestinations, Destination

GOOD = {
    "s3://bucket": "s3://bucket",
    "s3://bucket/": "s3://bucket",
    "s3://bucket/a/b-c_1.d/": "s3://bucket/a/b-c_1.d",
    "s3://bucket/runs/date=2026-11-21/": "s3://bucket/runs/date=2026-11-21",
    "/srv/exports": "file:///srv/exports",
    "/srv/my exports/": "file:///srv/my%20exports",
    "file:///srv/my%20exports/": "file:///srv/my%20exports",
    "/": "file:///",
}

BAD = [
    *("", "exports", "./exports", "~/exports", "../exports", "s3:/bucket", "s3://"),
    *("http://host/x", "https://bucket.s3.amazonaws.com/x", "S3://bucket/x"),
    *("s3://b", "s3://user:pw@bucket/x", "s3://bucket:80/x", "s3://bucket?x=y"),
    *(
        "s3://bucket/../other",
        "s3://bucket/a/./b",
        "s3://bucket/a//b",
        "s3://bucket//a",
    ),
    *(
        "s3://bucket/%2e%2e/x",
        "s3://bucket/.hidden",
        "s3://bucket/a b",
        "s3://bucket/ü",
    ),
    *("/srv/../etc", "/srv/./x", "//srv/x", "/srv//x", "file://host/x", "file:srv"),
    *("file:///srv/%2e%2e/etc", "file:///srv/..%2fetc", "file:///srv/%00", "/srv/a\0b"),
    *("/srv/a\nb", "s3://bucket/a\n", "/" + "x" * 1_024),
]


@pytest.mark.parametrize(("text", "url"), GOOD.items())
def test_a_destination_is_a_bucket_prefix_or_a_folder(text, url):
    assert Destination.parse(text).url == url
    assert Destination.parse(url) == Destination.parse(text)


@pytest.mark.parametrize("text", BAD)
def test_other_texts_are_not_destinations(text):
    with pytest.raises(OutputError):
        Destination.parse(text)


def allowed(text, *prefixes, storage="s3://bucket/storage", project="mine"):
    AllowedDestinations(prefixes, storage).check(text, project)


INSIDE = [
    ("s3://bucket/exports", "s3://bucket/exports/"),
    ("s3://bucket/exports/a/b/", "s3://bucket/exports"),
    ("s3://bucket/x", "s3://other/", "s3://bucket"),
    ("/srv/exports/a", "file:///srv/exports"),
    ("s3://bucket/mine/x", "s3://bucket/{project}/"),
]

OUTSIDE = [
    ("s3://bucket/exports",),
    ("s3://bucket/exports-of-others/", "s3://bucket/exports"),
    ("s3://bucket/", "s3://bucket/exports"),
    ("s3://bucket-2/exports/", "s3://bucket/exports/"),
    ("/srv/exports", "s3://bucket/srv"),
    ("s3://srv/x", "/"),
    ("/srv/exports2/a", "/srv/exports"),
    ("s3://bucket/other/x", "s3://bucket/{project}/"),
    ("s3://bucket/storage/active", "s3://bucket"),
    ("s3://bucket/storage", "s3://bucket"),
]


@pytest.mark.parametrize(("text", "prefix", "other"), [(*i, "/x")[:3] for i in INSIDE])
def test_a_destination_below_a_prefix_is_allowed(text, prefix, other):
    allowed(text, prefix, other)


@pytest.mark.parametrize("asked", OUTSIDE)
def test_a_destination_outside_the_prefixes_is_rejected(asked):
    with pytest.raises(OutputError):
        allowed(*asked)


def test_without_prefixes_the_error_names_the_setting():
    with pytest.raises(OutputError, match="BATCHCHAT_OUTPUT_PREFIXES"):
        allowed("s3://bucket/x")


def test_a_symlink_cannot_leave_the_prefix(tmp_path):
    exports, secret = tmp_path / "exports", tmp_path / "secret"
    for folder in (exports, secret):
        folder.mkdir()
    (exports / "out").symlink_to(secret)
    (exports / "in").symlink_to(exports)
    allowed(f"{exports}/in/x", f"{exports}")
    with pytest.raises(OutputError):
        allowed(f"{exports}/out/x", f"{exports}")


def test_a_symlink_loop_is_rejected(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OutputError):
        allowed(f"{tmp_path}/loop/x", f"{tmp_path}/exports")


def test_a_destination_inside_the_storage_is_rejected_even_through_a_symlink(tmp_path):
    storage = tmp_path / "storage"
    storage.mkdir()
    (tmp_path / "link").symlink_to(storage)
    for name in ("storage", "link", "storage/projects"):
        with pytest.raises(OutputError, match="within the storage"):
            allowed(f"{tmp_path}/{name}", f"{tmp_path}", storage=storage.as_uri())


def test_the_setting_takes_several_prefixes(monkeypatch):
    monkeypatch.setenv("BATCHCHAT_OUTPUT_PREFIXES", "s3://bucket/{project}, /srv/x/,")
    assert load_settings().output_prefixes == ("s3://bucket/{project}", "/srv/x/")


def test_the_setting_may_be_empty(monkeypatch):
    monkeypatch.setenv("BATCHCHAT_OUTPUT_PREFIXES", "")
    assert load_settings().output_prefixes == ()


def test_the_file_takes_a_list(monkeypatch, tmp_path):
    (tmp_path / "x.toml").write_text('output_prefixes = ["s3://bucket", "/srv"]')
    monkeypatch.setenv("BATCHCHAT_CONFIG", str(tmp_path / "x.toml"))
    assert load_settings().output_prefixes == ("s3://bucket", "/srv")


@pytest.mark.parametrize("prefix", ["exports", "s3://bucket/../x", "*"])
def test_an_invalid_prefix_in_the_setting_is_an_error(monkeypatch, prefix):
    monkeypatch.setenv("BATCHCHAT_OUTPUT_PREFIXES", prefix)
    with pytest.raises(ConfigError, match="BATCHCHAT_OUTPUT_PREFIXES"):
        load_settings()
