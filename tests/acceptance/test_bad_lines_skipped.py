"""Invalid lines are errors, and the valid lines of the file are run.

By default this holds for errors in the body of a request, with `--on-invalid skip` for
all lines.
"""

import json
from typing import Any, NamedTuple

import pytest

from tests.acceptance import bad_lines
from tests.acceptance.bad_lines import GOOD, BadFile
from tests.acceptance.command import Done, Place

pytestmark = pytest.mark.slow
TWICE = b"""{"custom_id": "a", "messages": [{"role": "user", "content": "hi"}]}
{"custom_id": "a", "messages": [{"content": "hi"}]}
"""
SIMULATED = {"simulated_tokens_per_second": 1_000}


class Skipped(NamedTuple):
    """The submitted file, how the run ended, and what it wrote."""

    place: Place
    file: BadFile
    done: Done
    output: list[dict[str, Any]]
    errors: list[dict[str, Any]]


@pytest.fixture(scope="module", params=[None, "skip"])
def skipped(make_place, request):
    place = make_place()
    option = ["--on-invalid", request.param] if request.param else []
    file = bad_lines.write(place.folder / "bad.jsonl", with_form=bool(option))
    wish = ["--model", "demo", *option, "--output", "out.jsonl"]
    done = place.run("submit", file.path, *wish, "--json", settings=SIMULATED)
    names = ("out.jsonl", "out.errors.jsonl")
    written = [(place.folder / name).read_bytes().splitlines() for name in names]
    output, errors = ([json.loads(line) for line in lines] for lines in written)
    return Skipped(place, file, done, output, errors)


def test_all_valid_lines_have_results(skipped):
    answered = [one["custom_id"] for one in skipped.output]
    assert answered == [f"good-{index}" for index in range(GOOD)]
    for one in skipped.output:
        assert one["response"]["status_code"] == 200
        assert one["response"]["body"]["usage"]["completion_tokens"] > 0


def test_each_invalid_line_has_one_error_with_its_custom_id(skipped):
    bad = list(skipped.file.bad.values())
    assert [one["custom_id"] for one in skipped.errors] == [it.custom_id for it in bad]
    said = [one["response"]["body"]["error"] for one in skipped.errors]
    wanted = [(one.code, (one.param or "").removeprefix("body.")) for one in bad]
    assert [(one["code"], one["param"] or "") for one in said] == wanted
    assert {one["response"]["status_code"] for one in skipped.errors} == {400}


def test_repeated_id_is_the_first_problem_of_an_invalid_line(make_place):
    place = make_place()
    place.file("in.jsonl", TWICE)
    options = ["in.jsonl", "--model", "demo", "--on-invalid", "skip"]
    listed = place.run("validate", *options, "--json").json()["errors"]["data"]
    place.run("submit", *options, "--output", "out.jsonl", settings=SIMULATED)
    (line,) = (place.folder / "out.errors.jsonl").read_bytes().splitlines()
    error = json.loads(line)["response"]["body"]["error"]
    assert listed[0]["code"] == error["code"] == "duplicate_custom_id"
    assert "; messages[0].role: required" in error["message"]


def test_counts_match_the_files(skipped):
    assert skipped.done.code == 1  # it worked, and not every request was completed
    batch, file = skipped.done.json(), skipped.file
    assert batch["status"] == "completed"
    counts = {"total": file.lines, "completed": GOOD, "failed": len(file.bad)}
    assert batch["request_counts"] == counts
    assert "Traceback" not in skipped.done.err


def test_invalid_lines_are_not_retried(skipped):
    again = skipped.place.run("retry", skipped.done.json()["id"])
    assert (again.code, again.out) == (2, b"")
    assert "would fail again" in again.err
