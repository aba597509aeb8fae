"""The command line as a client of a server with vLLM: one bad request fails alone."""

import json

import pytest

from tests.conformance.stories import BODY_ERRORS, GOOD, WRONG, jsonl

pytestmark = pytest.mark.engine


def test_errors_of_bodies_are_written_beside_the_results(make_place, url):
    place = make_place()
    file = place.file("in.jsonl", jsonl(*WRONG, *GOOD))
    command = "submit", file, "--output", "out.jsonl", "--json"
    done = place.run(*command, settings={"url": url})
    batch = done.json()
    assert (done.code, batch["status"], batch["errors"]) == (1, "completed", None)
    written = [
        [json.loads(line) for line in (place.folder / name).read_bytes().splitlines()]
        for name in ("out.jsonl", "out.errors.jsonl")
    ]
    ids = [[one["custom_id"] for one in lines] for lines in written]
    assert ids == [[one["custom_id"] for one in GOOD], [*BODY_ERRORS]]
    errors = [one["response"]["body"]["error"] for one in written[1]]
    expected = [(param, code) for param, code, _ in BODY_ERRORS.values()]
    assert [(error["param"], error["code"]) for error in errors] == expected


@pytest.mark.parametrize("option", ["fail", "skip", "openai"])
def test_the_option_is_sent_to_the_server(make_place, url, option):
    place = make_place()
    file = place.file("in.jsonl", jsonl(*WRONG))
    command = "submit", file, "--on-invalid", option, "--json"
    done = place.run(*command, settings={"url": url})
    status = "failed" if option == "fail" else "completed"
    assert (done.code, done.json()["status"]) == (1, status)
