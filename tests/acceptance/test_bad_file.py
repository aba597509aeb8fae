"""A file with invalid lines of every kind: all are listed, and none is run."""

import sys

import pytest

from tests.acceptance import bad_lines
from tests.acceptance.bad_lines import GOOD

PEAK = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:]);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
)
"""Runs a command from a small process, and prints its peak memory in KB to stderr."""


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


def reported(errors):
    """Return the errors of a batch without their messages."""
    assert errors["object"] == "list"
    assert all(one["message"] for one in errors["data"])
    return [(one["line"], one["code"], one["param"]) for one in errors["data"]]


def expected(file):
    """Return the errors that the file should cause."""
    return [(line, one.code, one.param) for line, one in file.bad.items()]


def expected_to_fail(file):
    """Return the errors that fail the batch."""
    bad = {line: one for line, one in file.bad.items() if one.is_of_form}
    return expected(file._replace(bad=bad))


def test_file_has_many_kinds_of_invalid_lines(file):
    assert len(file.bad) == file.lines - GOOD > 80


def test_validate_lists_exactly_the_invalid_lines(validated, file):
    assert validated.code == 1
    found = validated.json()
    assert reported(found["errors"]) == expected(file)
    assert found["fails_batch"] is True
    failing = [one["line"] for one in found["errors"]["data"] if one["fails_batch"]]
    assert failing == [line for line, _, _ in expected_to_fail(file)]


def test_validate_counts_valid_and_invalid_lines(validated, file):
    counts = {"total": file.lines, "valid": GOOD, "invalid": len(file.bad)}
    assert validated.json()["request_counts"] == counts
    assert validated.err == ""


def test_validate_prints_the_first_problems_and_their_number(place, file):
    path, bad = file.path, len(file.bad)
    done = place.run("validate", path, "--model", "demo")
    assert (done.code, done.out) == (1, b"")
    assert done.err.startswith(
        f"error: `{path}`: {bad} of {file.lines} requests are invalid\n"
    )
    failing = len(expected_to_fail(file))
    assert f"\n{failing} problems would fail the batch:\n" in done.err
    assert f"  … and {failing - 20} more problems" in done.err
    others = bad - failing
    assert f"\n{others} problems would be reported in the error file:\n" in done.err
    assert f"  … and {others - 20} more problems" in done.err
    assert (
        f"hint: list all problems with `batchchat validate {path} --model demo --json`"
        in done.err
    )


@pytest.mark.parametrize(
    ("lines", "options", "command"),
    [
        (b"{}\n", ("--model", "demo"), "validate 'my file' --model demo`"),
        (b"{}\n", ("-m", "demo", "--on-invalid", "skip"), "--on-invalid skip`"),
        (b'{"messages": [{"role": "user", "content": "a"}]}', (), "--model NAME`"),
    ],
)
def test_hint_repeats_the_command_with_its_options(place, lines, options, command):
    place.file("my file", lines)
    hint = place.run("validate", "my file", *options).err.rpartition("hint: ")[2]
    assert "`batchchat validate 'my file'" in hint
    assert hint.strip().endswith(command)


def test_long_lines_do_not_increase_memory(place, file):
    measured = [sys.executable, "-c", PEAK]
    options = [file.path, "--model", "demo", "--json"]
    done = place.run("validate", *options, through=measured)
    assert file.path.stat().st_size > 100_000_000
    assert 30_000 < int(done.err) < 300_000


def test_estimate_finds_the_same_lines(place, file):
    done = place.run("estimate", file.path, "--model", "demo", "--json")
    found = done.json()
    assert (done.code, found["lines"]) == (1, sorted(file.bad))
    assert found["fails_batch"] is True
    counts = found["request_counts"]
    assert counts.pop("total") == file.lines
    assert sum(counts.values()) == len(file.bad)


def test_submit_fails_the_batch_without_an_engine(refused, file):
    assert refused.code == 1
    batch = refused.json()
    assert batch["status"] == "failed"
    assert reported(batch["errors"]) == expected_to_fail(file)
    assert batch["failed_at"] >= batch["created_at"]
    assert batch["output_file_id"] is batch["error_file_id"] is None
    assert "no request was run" in refused.err
    assert "--on-invalid skip" in refused.err


def test_on_invalid_fail_fails_the_batch_for_every_problem(place, file):
    options = ("--model", "demo", "--on-invalid", "fail", "--json")
    batch = place.run("submit", file.path, *options).json()
    assert batch["status"] == "failed"
    assert reported(batch["errors"]) == expected(file)


def test_failed_batch_stays_failed(place, refused):
    batch = refused.json()
    assert place.run("status", batch["id"], "--json").json() == batch
    resumed = place.run("resume", batch["id"], "--json")
    assert (resumed.code, resumed.json()) == (1, batch)


@pytest.mark.parametrize("command", ["results", "retry", "cancel"])
def test_failed_batch_has_no_results_retry_or_cancel(place, refused, command):
    done = place.run(command, refused.json()["id"])
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: ")
