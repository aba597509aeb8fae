"""One file of requests, run embedded and by a server, both on real vLLM."""

import json
import re
import signal
from pathlib import Path

import pytest

from tests.acceptance import requirements

pytestmark = requirements.engine()

EXAMPLE = Path(__file__).parents[2] / "examples" / "requests.jsonl"
OWN = {
    *("id", "input_file_id", "output_file_id", "engine_seconds", "expires_at"),
    *("created_at", "in_progress_at", "finalizing_at", "completed_at"),
}
"""Fields of a Batch object that differ between any two batches."""

BAD = b'{"messages": []}\n{"messages": [{"role": "user", "content": "hi"}]}\n'


@pytest.fixture(scope="module")
def both(make_place):
    """How the same `submit` ended embedded and with a server, by its options."""
    place, there = make_place(), make_place()
    good = ["--model", "demo", "--seed", "3", "--no-progress", "--output", "out.jsonl"]
    asked = {
        "good": [EXAMPLE, *good, "--format", "both"],
        "json": [EXAMPLE, *good, "--json"],
        "bad": [place.file("bad.jsonl", BAD), "--model", "demo", "--no-progress"],
    }
    ended = {
        f"{name} here": place.run("submit", *arguments, engine=True)
        for name, arguments in asked.items()
    }
    serve = there.start("serve", "--port", "0", engine=True)
    serve.until_it_says("/v1")
    found = re.search(r"http://127\.0\.0\.1:\d+/v1", serve.err.read_text())
    assert found
    settings = {"url": found.group()}
    for name, arguments in asked.items():
        done = there.run("submit", *arguments, settings=settings)
        ended[f"{name} there"] = done
    serve.signal(signal.SIGTERM)
    serve.end()
    return ended | {"folders": (place.folder, there.folder)}


def plain(text):
    """Return stderr without what differs between any two batches."""
    text = re.sub(r"batch_[0-9a-f]{32}", "BATCH", text)
    text = re.sub(r"(?m)^  engine   .*$", "  engine   TIME", text)
    return re.sub(r"wrote    .*/", "wrote    ", text)


@pytest.mark.parametrize(("name", "code"), [("good", 0), ("json", 0), ("bad", 1)])
def test_output_and_exit_status_are_the_same(both, name, code):
    here, there = both[f"{name} here"], both[f"{name} there"]
    assert here.code == there.code == code
    assert plain(here.err) == plain(there.err)
    if name != "json":
        assert plain(here.out.decode()) == plain(there.out.decode()) == "BATCH\n"


def test_json_is_the_same(both):
    here, there = (both[f"json {where}"].json() for where in ("here", "there"))
    assert list(here) == list(there)
    for batch in (here, there):  # a server's engine is warm, and remembers prompts
        batch["usage"].pop("input_tokens_details")
    assert {name: here[name] for name in here if name not in OWN} == {
        name: there[name] for name in there if name not in OWN
    }


def test_answers_are_the_same(both):
    answers = []
    for folder in both["folders"]:
        lines = (folder / "out.jsonl").read_text().splitlines()
        bodies = [json.loads(line)["response"]["body"] for line in lines]
        for body in bodies:
            body["usage"].pop("prompt_tokens_details")
        kept = ("choices", "usage", "seed", "system_fingerprint", "model")
        answers.append([[body[name] for name in kept] for body in bodies])
    assert answers[0] == answers[1]
    assert len(answers[0]) == EXAMPLE.read_bytes().count(b"\n")


def test_written_files_are_the_same(both):
    here, there = (
        {path.name for path in folder.glob("out.*")} for folder in both["folders"]
    )
    assert here == there == {"out.jsonl", "out.parquet"}
