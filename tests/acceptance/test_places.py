"""Unusable output paths, storage and settings are errors before anything runs."""

import os

import pytest

from tests.acceptance.inputs import few, lognormal

OUTPUTS = {
    "a directory": ".",
    "below a file": "a-file/out.jsonl",
    "not writable": "/proc/out.jsonl",
    "a directory that can't be created": "/proc/batchchat/out.jsonl",
    "a name too long": "x" * 300,
    "invalid UTF-8": os.fsdecode(b"\xff.jsonl"),
    "the input": "requests.jsonl",
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_unwritable_output_is_an_error_before_submitting(place, output):
    place.file("a-file", b"")
    file = place.file("requests.jsonl", few())
    done = place.run("submit", file, "--model", "demo", "--output", output)
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: ")
    assert "\n\nhint: " in done.err
    assert not place.storage.exists()
    assert file.read_bytes() == few()


def test_directories_of_the_output_are_created(place):
    file = place.file("requests.jsonl", few())
    options = ["--model", "demo", "--no-wait", "--output", "new/folder/out.jsonl"]
    assert place.run("submit", file, *options).code == 0
    assert list((place.folder / "new" / "folder").iterdir()) == []


STORAGES = {"below a file": "a-file/storage", "not writable": "/proc/storage"}


@pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)
@pytest.mark.parametrize("command", ["submit", "status", "results", "cancel"])
def test_unusable_storage_is_an_error_with_a_hint(place, command, storage):
    place.file("a-file", b"")
    file = place.file("requests.jsonl", few())
    asked = [file, "--model", "demo"] if command == "submit" else [f"batch_{'0' * 32}"]
    done = place.run(command, *asked, settings={"storage": storage})
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: ")
    assert "\n\nhint: " in done.err


def test_list_of_an_unusable_storage_is_an_error(place):
    place.file("a-file", b"")
    done = place.run("list", settings={"storage": "a-file/storage"})
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: ")


def test_list_of_an_unused_storage_is_empty(place):
    done = place.run("list", "--json")
    assert done.code == 0
    assert (done.json()["data"], done.json()["has_more"]) == ([], False)
    assert place.run("list").out == b""


def test_full_disk_leaves_no_batch(place):
    file = place.file("requests.jsonl", lognormal(200, middle=4, most=8))
    full = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh"]  # no file over some kilobytes
    done = place.run("submit", file, "--model", "demo", "--no-wait", through=full)
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: no room to write")
    assert "\n\nhint: free some space" in done.err
    assert place.run("list").out == b""
    assert [path for path in place.storage.rglob("*") if path.is_file()] == []
    place.hand_in(file)


WRONG = {
    "shard_requests": 0,
    "checkpoint_seconds": "soon",
    "engine_process": "outside",
    "storage": "ftp://x",
    "config": "missing.toml",
    "project": "../other",
}


@pytest.mark.parametrize(("name", "value"), WRONG.items(), ids=WRONG)
def test_invalid_setting_is_an_error_that_names_it(place, name, value):
    file = place.file("requests.jsonl", few())
    options = ["submit", file, "--model", "demo", "--no-wait"]
    done = place.run(*options, settings={name: value})
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: ")
    assert name in done.err.lower()
    assert "Traceback" not in done.err


def test_projects_are_isolated(place):
    batch_id = place.hand_in(place.file("requests.jsonl", few()))
    assert batch_id in place.run("list").out.decode()
    other = {"project": "other"}
    assert place.run("list", settings=other).out == b""
    assert place.run("status", batch_id, settings=other).code == 2
