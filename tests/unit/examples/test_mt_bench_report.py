"""Scores and reports of the MT-Bench recipe."""

import json
import re
from xml.etree import ElementTree as ET

import pytest

from examples.batch import RecipeError, write_lines
from examples.mt_bench import __main__ as recipe
from examples.mt_bench.chart import bar_chart
from examples.mt_bench.folder import PAIR, SINGLE
from examples.mt_bench.report import Report
from examples.mt_bench.score import ratings, standings
from tests.support.mt_bench_run import CATEGORIES, JUDGE, bench_of, judge_run


def grade(model, number, turn, score):
    return {"model": model, "question_id": number, "turn": turn, "score": score}


def test_the_average_is_the_mean_of_all_ratings():
    lines = [grade("m", 7, 1, 8), grade("m", 8, 1, 4), grade("m", 7, 2, 3)]
    found = ratings([*lines, grade("m", 8, 2, -1)], CATEGORIES)["m"]
    assert (found.first_turn, found.second_turn, found.average) == (6, 3, 5)
    assert found.categories == {"writing": 5.5, "math": 4}
    assert (found.rated, found.judged) == (3, 4)


def match(first, second, number=7):
    models = {"model_1": "a", "model_2": "b", "question_id": number}
    return models | {"g1_winner": first, "g2_winner": second}


def test_a_win_requires_both_games_and_errors_are_not_played():
    games = [("model_1", "model_1"), ("model_1", "model_2"), ("tie", "model_1")]
    games += [("model_2", "model_2"), ("error", "model_1")]
    found = standings([match(*it) for it in games], CATEGORIES)["a"].total
    assert (found.win, found.loss, found.tie, found.error) == (1, 1, 2, 1)
    assert found.win_rate_adjusted == 0.5


def test_the_baseline_is_not_in_the_standings():
    assert list(standings([match("tie", "tie")], CATEGORIES, "b")) == ["a"]


def test_the_report_has_tables_charts_and_json(folder, capsys):
    judge_run(folder)
    report = Report(folder)
    report.print()
    report.write()
    assert report.print_missing_verdicts()
    shown = capsys.readouterr()
    assert "Ratings by judge" in shown.out
    assert "have no rating" in shown.err
    for kind in (SINGLE, PAIR):
        chart = ET.parse(folder.path / f"{JUDGE}{kind}.svg")  # noqa: S314
        texts = {it.text for it in chart.iter("{http://www.w3.org/2000/svg}text")}
        assert {"writing", "math", "stem", "one", "two", "three"} <= texts
    scores = json.loads((folder.path / "scores.json").read_text())
    assert set(scores["single"][JUDGE]) == {"one", "two", "three"}


def test_the_report_names_missing_ratings(folder, capsys):
    gradings = bench_of(folder).gradings()
    lines = [it.line({"user_prompt": "noise"}, JUDGE, 1.0) for it in gradings]
    write_lines(folder.judgment_file(JUDGE, SINGLE), lines)
    report = Report(folder)
    report.print()
    report.write()
    assert not report.print_missing_verdicts()
    shown = capsys.readouterr()
    assert "24 of 24 judgments by judge have no rating" in shown.err
    assert re.search(r"^one +- +- +- +0 of 8$", shown.out, re.MULTILINE)


def test_names_in_a_chart_are_escaped():
    chart = bar_chart("<&>", {"a<b": {"c&d": 5.0}}, top=10, form=".2f")
    root = ET.fromstring(chart)  # noqa: S314
    texts = [it.text for it in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"<&>", "a<b", "c&d", "5.00"} <= set(texts)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"question_id": 99}, "no question 99"), ({"turn": ...}, "`turn` is missing")],
)
def test_an_invalid_judgment_is_reported(folder, change, message):
    judge_run(folder)
    first, *others = folder.judgments(JUDGE, SINGLE)
    changed = {name: it for name, it in (first | change).items() if it is not ...}
    write_lines(folder.judgment_file(JUDGE, SINGLE), [*others, changed])
    with pytest.raises(RecipeError, match=f"judgment 24: .*{message}"):
        Report(folder)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (["show"], "has no judgments"),
        (["judge", "--judge", "j", "--models", "four"], "no answers of `four`"),
        (["judge", "--judge", "a:b"], "is not a valid file name"),
        (["judge", "--judge", "j", "--mode", "pairwise-baseline"], "--baseline ID"),
        (["judge", "--judge", "j", "--references", "none.jsonl"], "does not exist"),
        (["judge", "--judge", "j", "--judge-prompts", "none.jsonl"], "no prompt"),
        (["answer", "--models", "a:b"], "is not a valid file name"),
    ],
)
def test_a_step_that_cannot_run_reports_why(folder, step, message, monkeypatch, capsys):
    arguments = ["mt_bench", *step, "--out", str(folder.path)]
    monkeypatch.setattr("sys.argv", arguments)
    assert recipe.main() == 2
    assert re.search(f"^error: .*{message}", capsys.readouterr().err)
