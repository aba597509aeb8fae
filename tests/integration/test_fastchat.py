"""FastChat reads what the recipe writes, and judges and counts as the recipe does."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.batch import read_lines, write_lines
from examples.mt_bench import judge_prompt, judging
from examples.mt_bench.folder import PAIR, SINGLE
from examples.mt_bench.score import ratings, standings
from tests.support.mt_bench_run import CATEGORIES, JUDGE, QUESTIONS, judge_run, make_run

JUDGING = Path(__file__).with_name("fastchat_judging.py")


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path / "data" / "mt_bench")


def python(*arguments, cwd):
    """Run a program of FastChat's, in a process for its own warnings' sake."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def show_result(folder, *arguments):
    """Return the tables that FastChat prints, each by model."""
    show = "-m", "fastchat.llm_judge.show_result", "--judge-model", JUDGE
    text = python(*show, *arguments, cwd=folder.path.parent.parent)
    tables = re.split(r"^#+ .* #+$", text, flags=re.MULTILINE)
    return [dict(rows(table)) for table in tables]


def rows(table):
    for line in table.splitlines():
        name, *cells = line.split() or [""]
        if name in {"one", "two", "three"}:
            yield name, [float(cell) for cell in cells]


def test_show_result_prints_the_means_of_the_recipe(folder):
    judge_run(folder)
    found = ratings(folder.judgments(JUDGE, SINGLE), CATEGORIES)
    _, first, second, average = show_result(folder)
    assert list(average) == list(found)
    for model, it in found.items():
        assert first[model][-1] == pytest.approx(it.first_turn, abs=1e-6)
        assert second[model][-1] == pytest.approx(it.second_turn, abs=1e-6)
        assert average[model][-1] == pytest.approx(it.average, abs=1e-6)


@pytest.mark.parametrize("baseline", [None, "two"])
def test_show_result_prints_the_win_rates_of_the_recipe(folder, baseline):
    judge_run(folder, baseline)
    found = standings(folder.judgments(JUDGE, PAIR), CATEGORIES, baseline)
    asked = ["pairwise-baseline", "--baseline-model", baseline]
    [table] = show_result(folder, "--mode", *(asked if baseline else ["pairwise-all"]))
    assert table == {
        model: pytest.approx(cells(it.total), abs=1e-6) for model, it in found.items()
    }


def cells(record):
    """Return a model's row: its matches, its rates, and the rate with ties."""
    counts = [record.win, record.loss, record.tie]
    rates = [record.win / record.played, record.loss / record.played]
    return [*counts, *rates, record.win_rate_adjusted]


@pytest.mark.parametrize("baseline", [None, "two"])
def test_judging_by_fastchat_writes_the_same_lines(folder, tmp_path, baseline):
    said = judge_run(folder, baseline)
    words = tmp_path / "words.json"
    words.write_text(json.dumps(said))
    references = [
        {"question_id": it["question_id"], "choices": [{"turns": it["reference"]}]}
        for it in QUESTIONS
        if "reference" in it
    ]
    write_lines(folder.path / "reference_answer" / f"{JUDGE}.jsonl", references)
    run = folder.path, words, judge_prompt.SHIPPED, baseline or ""
    python(JUDGING, *run, cwd=tmp_path)
    for kind, file in ((SINGLE, "single.jsonl"), (PAIR, "pair.jsonl")):
        ours = {judging.key_of(it): it for it in folder.judgments(JUDGE, kind)}
        theirs = {judging.key_of(it): it for it in read_lines(folder.path / file)}
        assert len(theirs) == len(ours) > 0
        for key, line in theirs.items():
            assert list(line) == list(ours[key])
            assert line | {"tstamp": 0} == ours[key] | {"tstamp": 0}
