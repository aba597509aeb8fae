"""Requests with the values that clients and datasets send run, with a warning."""

import json
from typing import Any

import pytest

from tests.acceptance.command import Done, Place

pytestmark = pytest.mark.slow
SIMULATED = {"simulated_tokens_per_second": 1_000}
PART = {"type": "text", "text": "Hi.", "cache_control": {"type": "ephemeral"}}
ANSWER = {"role": "assistant", "content": None, "refusal": None, "reasoning": "hm"}
USER: dict[str, Any] = {
    "role": "user",
    "content": "Hi.",
    "name": None,
    "tool_calls": None,
}
BODIES: list[dict[str, Any]] = [
    {"messages": [USER], "top_k": -1, "seed": -1, "stop": None, "stream": True},
    {"messages": [{"role": "user", "content": [PART]}], "user": "u"},
    {"messages": [USER, ANSWER, USER], "response_format": None},
    {"messages": [USER | {"type": "text"}], "stream": True, "priority": 1},
]
IGNORED = {"stream": 2, "messages[].content[].cache_control": 1}
IGNORED |= {"priority": 1, "user": 1}


@pytest.fixture(scope="module")
def place(make_place) -> Place:
    place: Place = make_place()
    lines = (json.dumps({"max_tokens": 4} | body) for body in BODIES)
    (place.folder / "in.jsonl").write_text("\n".join(lines))
    return place


@pytest.fixture(scope="module")
def submitted(place) -> Done:
    arguments = ["submit", "in.jsonl", "--model", "demo", "--output", "out.jsonl"]
    done: Done = place.run(*arguments, settings=SIMULATED)
    return done


def test_validate_warns_about_fields_without_effect(place):
    done = place.run("validate", "in.jsonl", "--model", "demo")
    assert done.code == 0
    warning = next(line for line in done.err.splitlines() if "warning" in line)
    for name in IGNORED:
        assert f"`{name}`" in warning
    assert "`stream` (2 requests)" in warning
    listed = place.run("validate", "in.jsonl", "--model", "demo", "--json")
    assert listed.json()["ignored_fields"] == IGNORED


def test_submit_runs_them_and_warns(place, submitted):
    assert submitted.code == 0
    assert "`priority` (1 request)" in submitted.err
    status = place.run("status", "latest", "--json").json()
    assert (status["ignored_fields"], status["streamed_requests"]) == (IGNORED, 2)


@pytest.mark.usefixtures("submitted")
def test_answers_are_accepted_as_messages(place):
    lines = (place.folder / "out.jsonl").read_text().splitlines()
    bodies = [json.loads(line)["response"]["body"] for line in lines]
    again = [
        {"messages": [USER, body["choices"][0]["message"], USER]} for body in bodies
    ]
    (place.folder / "again.jsonl").write_text("\n".join(map(json.dumps, again)))
    done = place.run("validate", "again.jsonl", "--model", "demo", "--json")
    assert done.json()["request_counts"]["valid"] == len(BODIES)
    assert done.json()["ignored_fields"] == {}
