"""The recipes of examples/, from questions and prompts to scores and a dataset.

Player and judge are the demo model, so no rating can be read from what it says.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from examples.batch import read_lines, write_lines
from examples.mt_bench import question
from tests.acceptance.command import COMMAND, Done, Place

pytestmark = pytest.mark.slow

CATEGORIES = {"writing", "math"}
SAMPLES = 12
TOO_LONG = "river " * 3000
"""What has no room in the context of the demo."""

EXAMPLES = Path(__file__).parents[2] / "examples"
RUN = Path("data/mt_bench")


class Played(NamedTuple):
    """A run of the benchmark whose first step was killed and started again."""

    place: Place
    folder: Path
    begun: str
    steps: dict[str, Done]


def mt_bench(*arguments: str) -> dict[str, Any]:
    return {"program": [sys.executable, "-m", "examples.mt_bench", *arguments]}


ANSWER = mt_bench("answer", "--models", "demo", "b=demo", "--max-tokens", "24")
MODES = "--mode", "single", "pairwise-all"
JUDGE = mt_bench("judge", "--judge", "demo", "--judge-max-tokens", "24", *MODES)
SHOW = mt_bench("show")


def noted(folder: Path, name: str) -> dict[str, Any]:
    """Return the record of a batch, or one without an id."""
    path = folder / "batches" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {"batch": None}


@pytest.fixture(scope="module")
def played(make_place):
    place = make_place()
    folder = place.folder / RUN
    chosen = {it["category"]: it for it in read_lines(question.SHIPPED)}
    questions = [it for name, it in chosen.items() if name in CATEGORIES]
    write_lines(place.folder / "few.jsonl", questions)
    running = place.start("--questions", "few.jsonl", engine=True, **ANSWER)
    begun = running.until(lambda: noted(folder, "answer-demo")["batch"])
    os.kill(running.pid, signal.SIGKILL)  # alone, as the system does for want of memory
    running.end()
    steps = {
        "answer": place.run(engine=True, **ANSWER),
        "judge": place.run(engine=True, **JUDGE),
        "show": place.run(**SHOW),
    }
    return Played(place, folder, begun, steps)


@pytest.mark.engine
def test_a_killed_run_resumes_its_batch(played):
    assert played.steps["answer"].code == 0, played.steps["answer"].err
    assert noted(played.folder, "answer-demo")["batch"] == played.begun
    listed = played.place.run("list", "--json").json()["data"]
    assert len(listed) == 3  # two models' answers, and the judge's words


@pytest.mark.engine
def test_each_question_is_answered_in_two_turns(played):
    for model in ("demo", "b"):
        lines = list(read_lines(played.folder / "model_answer" / f"{model}.jsonl"))
        assert [it["model_id"] for it in lines] == [model] * 2
        assert all(len(it["choices"][0]["turns"]) == 2 for it in lines)
        assert all(all(it["choices"][0]["turns"]) for it in lines)


@pytest.mark.engine
def test_the_second_turn_follows_the_first_answer(played):
    for line in read_lines(played.folder / "batches" / "answer-demo.results.jsonl"):
        body = line["response"]["body"]
        [first] = body["turns"]
        second = body["usage"]["prompt_tokens"] - first["usage"]["prompt_tokens"]
        assert second > first["usage"]["total_tokens"]


@pytest.mark.engine
def test_each_answer_is_graded_and_compared(played):
    assert played.steps["judge"].code == 0, played.steps["judge"].err
    single = list(read_lines(played.folder / "model_judgment" / "demo_single.jsonl"))
    pair = list(read_lines(played.folder / "model_judgment" / "demo_pair.jsonl"))
    assert (len(single), len(pair)) == (8, 4)
    assert {it["judgment"] for it in single} & {"$ERROR$", ""} == set()


@pytest.mark.engine
def test_missing_ratings_are_reported(played):
    done = played.steps["show"]
    assert done.code == 1
    assert "8 of 8 judgments by demo have no rating" in done.err
    assert b"Ratings by demo" in done.out


@pytest.mark.engine
def test_fastchat_shows_the_run(played):
    show = "-m", "fastchat.llm_judge.show_result", "--judge-model", "demo"
    shown = subprocess.run(
        [sys.executable, *show],
        cwd=played.place.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Second turn" in shown.stdout


@pytest.mark.engine
def test_finished_steps_are_not_repeated(played):
    for step in (ANSWER, JUDGE):
        done = played.place.run(**step)
        assert done.code == 0
        assert "already" in done.err


@pytest.mark.engine
def test_a_batch_without_a_record_is_found(played):
    note = noted(played.folder, "answer-b")
    lost = note | {"batch": None, "used": False}
    (played.folder / "batches" / "answer-b.json").write_text(json.dumps(lost))
    answers = played.folder / "model_answer" / "b.jsonl"
    before = [it["choices"] for it in read_lines(answers)]
    answers.unlink()
    assert played.place.run(**ANSWER).code == 0  # where no engine can be started
    assert noted(played.folder, "answer-b")["batch"] == note["batch"]
    assert [it["choices"] for it in read_lines(answers)] == before


@pytest.fixture(scope="module")
def made(make_place):
    place = make_place()
    for name in ("make.sh", "request.yaml"):
        shutil.copy(EXAMPLES / "dataset" / name, place.folder / name)
    words = "yes", "no", "maybe", TOO_LONG
    prompts = [{"prompt": f"Say {word}."} for word in words]
    write_lines(place.folder / "prompts.jsonl", prompts)
    settings = {"simulated_tokens_per_second": 1_000}
    place.environment["PATH"] = f"{COMMAND.parent}:{place.environment['PATH']}"
    place.environment["SAMPLES"] = str(SAMPLES)
    program = ["sh", "make.sh", "demo", "dataset"]
    return place, place.run(settings=settings, program=program)


def test_a_dataset_loads_for_fine_tuning(made):
    from datasets import load_dataset
    from transformers import AutoTokenizer

    place, done = made
    assert done.code == 0, done.err
    cache = str(place.folder / "cache")
    folder = str(place.folder / "dataset")
    rows = load_dataset(folder, split="train", cache_dir=cache)
    assert len(rows) == 3 * SAMPLES  # one prompt is too long
    assert rows["prompt"][::SAMPLES] == [
        f"Say {word}." for word in ("yes", "no", "maybe")
    ]
    assert len(set(rows["seed"])) == len(rows)
    [models] = Path(place.environment["BATCHCHAT_MODEL_CACHE"]).glob("demo-*")
    tokenizer = AutoTokenizer.from_pretrained(models)
    for row in rows:
        assert [it["role"] for it in row["messages"]] == ["user", "assistant"]
        text = tokenizer.apply_chat_template(row["messages"], tokenize=False)
        assert row["messages"][1]["content"] in text
