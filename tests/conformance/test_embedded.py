"""One file of requests, run embedded and by a server."""

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "requests.jsonl"
OWN = {
    *("id", "input_file_id", "output_file_id", "output_parquet_file_id"),
    *("engine_seconds", "completion_window", "expires_at"),
    *("created_at", "in_progress_at", "finalizing_at", "completed_at", "prompt_time"),
}
"""Fields of a Batch object that differ between any two batches."""

BAD = b'{"messages": []}\n{"messages": [{"role": "user", "content": "hi"}]}\n'


GOOD = ["--model", "demo", "--seed", "3", "--no-progress", "--output", "out.jsonl"]


@pytest.fixture(scope="module")
def on_vllm(make_place, url):
    """How a submit ended embedded and with a server, both on vLLM."""
    here, there = make_place(), make_place()
    asked = ["submit", EXAMPLE, *GOOD, "--format", "both", "--json"]
    return {
        "here": here.run(*asked, engine=True),
        "there": there.run(*asked, settings={"url": url}),
        "folders": (here.folder, there.folder),
    }


@pytest.fixture(scope="module")
def simulated(make_place):
    """How submits ended embedded and with a server, both with simulated text."""
    here, there = make_place(), make_place()
    asked = {
        "good": [EXAMPLE, *GOOD],
        "bad": [here.file("bad.jsonl", BAD), *GOOD],
    }
    settings = {"simulated_tokens_per_second": 1_000}
    serve = there.start("serve", "--port", "0", settings=settings)
    serve.until_it_says("/v1")
    found = re.search(r"http://127\.0\.0\.1:\d+/v1", serve.err.read_text())
    assert found
    return {
        name: (
            here.run("submit", *arguments, settings=settings),
            there.run("submit", *arguments, settings={"url": found.group()}),
        )
        for name, arguments in asked.items()
    }


def plain(text):
    """Return stderr without what differs between any two batches."""
    text = re.sub(r"batch_[0-9a-f]{32}", "BATCH", text)
    text = re.sub(r"(?m)^  engine   .*$", "  engine   TIME", text)
    return re.sub(r"wrote    .*/", "wrote    ", text)


@pytest.mark.parametrize(("name", "code"), [("good", 0), ("bad", 1)])
def test_output_and_exit_status_are_the_same(simulated, name, code):
    here, there = simulated[name]
    assert here.code == there.code == code
    assert plain(here.err) == plain(there.err)
    assert plain(here.out.decode()) == plain(there.out.decode()) == "BATCH\n"


@pytest.mark.engine
def test_output_and_exit_status_with_json_are_the_same(on_vllm):
    here, there = on_vllm["here"], on_vllm["there"]
    assert here.code == there.code == 0
    assert plain(here.err) == plain(there.err)


@pytest.mark.engine
def test_json_is_the_same(on_vllm):
    here, there = on_vllm["here"].json(), on_vllm["there"].json()
    assert list(here) == list(there)
    for batch in (here, there):  # a server's engine is warm, and remembers prompts
        batch["usage"].pop("input_tokens_details")
    assert {name: here[name] for name in here if name not in OWN} == {
        name: there[name] for name in there if name not in OWN
    }


@pytest.mark.engine
def test_answers_are_the_same(on_vllm):
    answers = []
    for folder in on_vllm["folders"]:
        lines = (folder / "out.jsonl").read_text().splitlines()
        bodies = [json.loads(line)["response"]["body"] for line in lines]
        for body in bodies:
            body["usage"].pop("prompt_tokens_details")
        kept = ("choices", "usage", "seed", "system_fingerprint", "model")
        answers.append([[body[name] for name in kept] for body in bodies])
    assert answers[0] == answers[1]
    assert len(answers[0]) == EXAMPLE.read_bytes().count(b"\n")


@pytest.mark.engine
def test_written_files_are_the_same(on_vllm):
    here, there = (
        {path.name for path in folder.glob("out.*")} for folder in on_vllm["folders"]
    )
    assert here == there == {"out.jsonl", "out.parquet"}
