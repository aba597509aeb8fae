"""A file with bad lines of every kind: all are told, and nothing of it is run."""

import sys

import pytest

from tests.acceptance import bad_lines
from tests.acceptance.bad_lines import GOOD

PEAK = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:]);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
)
"""Runs a command from a small process, and says its peak of memory: KB on stderr."""


@pytest.fixture(scope="module")
def place(make_place):
    return make_place()


@pytest.fixture(scope="module")
def file(place):
    return bad_lines.write(place.folder / "bad.jsonl")


@pytest.fixture(scope="module")
def validated(place, file):
    return place.run("validate", file.path, "--model", "demo", "--json")


@pytest.fixture(scope="module")
def refused(place, file):
    return place.run("submit", file.path, "--model", "demo", "--json")


def told(errors):
    """Return what the errors of a batch say, without the messages."""
    assert errors["object"] == "list"
    assert all(one["message"] for one in errors["data"])
    return [(one["line"], one["code"], one["param"]) for one in errors["data"]]


def wanted(file):
    """Return what they are to say."""
    return [(line, one.code, one.param) for line, one in file.bad.items()]


def test_there_are_many_kinds(file):
    assert len(file.bad) == file.lines - GOOD > 80


def test_validate_lists_every_bad_line_with_its_field_and_no_good_one(validated, file):
    assert validated.code == 1
    assert told(validated.json()["errors"]) == wanted(file)


def test_validate_counts_what_is_good_and_what_is_not(validated, file):
    counts = {"total": file.lines, "valid": GOOD, "invalid": len(file.bad)}
    assert validated.json()["request_counts"] == counts
    assert validated.err == ""


def test_people_are_told_the_first_lines_and_how_many_there_are(place, file):
    path, bad = file.path, len(file.bad)
    done = place.run("validate", path, "--model", "demo")
    assert (done.code, done.out) == (1, b"")
    assert done.err.startswith(f"error: `{path}` has {bad} bad lines in {file.lines}\n")
    assert f"  … and {bad - 20} more problems" in done.err
    assert f"hint: see all as JSON with `batchchat validate {path} --json`" in done.err


def test_no_line_is_too_long_for_the_memory(place, file):
    measured = [sys.executable, "-c", PEAK]
    wish = [file.path, "--model", "demo", "--json"]
    done = place.run("validate", *wish, through=measured)
    assert file.path.stat().st_size > 100_000_000
    assert 30_000 < int(done.err) < 300_000


def test_submit_refuses_the_file_and_starts_no_engine(refused, file):
    assert refused.code == 1
    batch = refused.json()
    assert batch["status"] == "failed"
    assert told(batch["errors"]) == wanted(file)
    assert batch["failed_at"] >= batch["created_at"]
    assert batch["output_file_id"] is batch["error_file_id"] is None
    assert "nothing was run" in refused.err
    assert "--on-invalid skip" in refused.err


def test_a_refused_batch_stays_refused_and_says_why(place, refused):
    batch = refused.json()
    assert place.run("status", batch["id"], "--json").json() == batch
    resumed = place.run("resume", batch["id"], "--json")
    assert (resumed.code, resumed.json()) == (1, batch)


@pytest.mark.parametrize("command", ["results", "retry", "cancel"])
def test_a_refused_batch_has_nothing_to_read_retry_or_cancel(place, refused, command):
    done = place.run(command, refused.json()["id"])
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: ")
