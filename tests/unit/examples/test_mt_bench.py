"""The recipe's conversions between batchchat's lines and FastChat's."""

import json
import re
from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from examples.batch import RecipeError, Result, read_lines, write_lines
from examples.mt_bench import __main__ as recipe
from examples.mt_bench import answer, judge_prompt, judging, question
from examples.mt_bench.chart import bar_chart
from examples.mt_bench.folder import PAIR, SINGLE, Folder, Model
from examples.mt_bench.judge_prompt import JudgePrompts
from examples.mt_bench.question import read_questions
from examples.mt_bench.report import Report
from examples.mt_bench.score import ratings, standings
from examples.mt_bench.verdict import rating, winner
from tests.support.mt_bench_run import (
    CATEGORIES,
    JUDGE,
    QUESTIONS,
    answered,
    bench_of,
    judge_run,
    make_run,
)

REFUSED = Result(None, "too long", ran=True)
NEVER_RUN = Result(None, "batch_expired", ran=False)


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path)


def ask(questions, choices=1, seed=0):
    return list(answer.requests(questions, choices=choices, seed=seed, max_tokens=9))


def line_of(one, results, choices=1):
    how = {"model_id": "m", "choices": choices, "now": 1.5}
    return answer.answer_line(one, results, **how)


def test_eighty_questions_are_shipped_in_two_turns_each():
    questions = read_questions(question.SHIPPED)
    assert set(Counter(it.category for it in questions).values()) == {10}
    assert len(questions) == 80
    assert {len(it.turns) for it in questions} == {2}
    assert all(len(it.reference) == 2 for it in questions if it.needs_reference)
    assert len({turn for it in questions for turn in it.turns}) == 160


def test_a_slot_stands_between_the_turns(folder):
    body = ask(folder.questions())[0]["body"]
    assert body["messages"] == [
        {"role": "user", "content": "Wt {1}"},
        {"role": "assistant", "generate": True},
        {"role": "user", "content": "W2"},
    ]


def test_temperatures_are_those_of_the_categories():
    warm = dict.fromkeys(["writing", "roleplay"], 0.7)
    cool = dict.fromkeys(["stem", "humanities"], 0.1)
    cold = dict.fromkeys(["extraction", "math", "coding", "reasoning"], 0.0)
    questions = read_questions(question.SHIPPED)
    assert {it.category: it.temperature for it in questions} == warm | cool | cold


@pytest.mark.parametrize(
    ("more", "temperature"), [({}, 0.7), ({"required_temperature": 0.3}, 0.3)]
)
def test_other_questions_are_warm_or_as_they_require(tmp_path, more, temperature):
    line = {"question_id": 1, "category": "poems", "turns": ["a"]} | more
    write_lines(tmp_path / "q.jsonl", [line])
    [one] = read_questions(tmp_path / "q.jsonl")
    assert one.temperature == temperature


def test_each_choice_has_its_seed(folder):
    lines = ask(folder.questions(), choices=3, seed=5)
    assert [it["body"]["seed"] for it in lines[:3]] == [5, 6, 7]
    assert len({it["custom_id"] for it in lines}) == 12


def test_an_answer_is_a_line_of_fastchat_s(folder):
    one = folder.questions()[0]
    line = line_of(one, {"7-0": answered(" second\n", [" first "])})
    assert len(line.pop("answer_id")) == 22
    assert line == {
        "question_id": 7,
        "model_id": "m",
        "choices": [{"index": 0, "turns": ["first", "second"]}],
        "tstamp": 1.5,
    }


def test_a_refused_question_is_answered_with_error(folder):
    one = folder.questions()[0]
    line = line_of(one, {"7-0": answered("b", ["a"]), "7-1": REFUSED}, choices=2)
    assert line["choices"][1] == {"index": 1, "turns": ["ERROR", "ERROR"]}


def test_a_question_that_never_ran_is_left_to_be_asked_again(folder):
    one = folder.questions()[0]
    assert line_of(one, {"7-0": NEVER_RUN}) is None


def test_of_two_answers_in_a_file_the_last_counts(folder):
    path = folder.answer_file("one")
    first = next(read_lines(path))
    path.write_text(path.read_text() + json.dumps(first | {"tstamp": 9.0}) + "\n")
    assert answer.read_answers(path)[7]["tstamp"] == 9.0


def test_prompts_are_shipped_by_fastchat_s_names():
    names = [it["name"] for it in read_lines(judge_prompt.SHIPPED)]
    plain = [f"{kind}-v1" for kind in ("single", "single-math", "pair-math")]
    assert sorted(names) == sorted(
        f"{name}{turn}" for name in ("pair-v2", *plain) for turn in ("", "-multi-turn")
    )


def test_a_judge_sees_the_question_the_answer_and_its_reference(folder):
    gradings = {(it.turn, it.question.id): it for it in bench_of(folder).gradings()}
    for (turn, number), it in gradings.items():
        shown = [text for text in ("R1", "R2") if text in it.user_prompt]
        expected = ["R1", "R2"][:turn] if number == 8 else []
        assert shown == expected
        assert (f"{it.model} {{a}} {turn}") in it.user_prompt
        assert ("{a} 2" in it.user_prompt) == (turn == 2)
        assert "not judged" not in it.user_prompt


def test_each_answer_is_graded_by_turn(folder):
    names = Counter(it.prompt.name for it in bench_of(folder).gradings())
    assert names == {
        "single-v1": 9,
        "single-math-v1": 3,
        "single-v1-multi-turn": 9,
        "single-math-v1-multi-turn": 3,
    }


def test_a_question_of_one_turn_is_judged_once(tmp_path):
    folder = make_run(tmp_path)
    one = QUESTIONS[0] | {"turns": ["only"]}
    write_lines(tmp_path / "question.jsonl", [one])
    assert [it.turn for it in bench_of(folder).gradings()] == [1, 1, 1]


def test_in_the_second_game_the_answers_change_places(folder):
    match = next(bench_of(folder).matches("two"))
    first, second = match.asked.values()
    assert match.models == ("one", "two")
    assert first.index("one {a}") < first.index("two {a}")
    assert second.index("two {a}") < second.index("one {a}")


def test_all_pairs_or_all_with_one(folder):
    bench = bench_of(folder)
    pairs = {it.models for it in bench.matches()}
    assert pairs == {("one", "three"), ("one", "two"), ("three", "two")}
    assert {it.models for it in bench.matches("one")} == {
        ("three", "one"),
        ("two", "one"),
    }


def test_a_judge_is_asked_greedily_with_its_system_prompt(folder):
    [request] = judging.requests(next(bench_of(folder).gradings()), 2048)
    body = request["body"]
    assert [it["role"] for it in body["messages"]] == ["system", "user"]
    assert (body["temperature"], body["max_tokens"]) == (0, 2048)


@pytest.mark.parametrize(
    ("judgment", "score"),
    [
        ("Rating: [[7]]", 7),
        ("[[7.5]]", 7.5),
        ("[[7.]]", 7.0),
        ("[8] and then [[3]]", 3),
        ("[[3]] then [[8]]", 3),
        ("[6]", 6),
        ("[[10/10]]", -1),
        ("[[05]]", -1),
        ("[[" + "9" * 20 + "]]", -1),
        ("[[" + "9" * 5000 + "]]", -1),
        ("[[\N{ARABIC-INDIC DIGIT SEVEN}]]", -1),
        ("seven", -1),
        ("", -1),
    ],
)
def test_a_rating_is_read_as_fastchat_reads_it(judgment, score):
    assert rating(judgment) == score


@pytest.mark.parametrize(
    ("judgment", "form", "who"),
    [
        ("[[A]]", "[[A]]", "A"),
        ("[[B]] no, [[A]]", "[[A]]", "A"),
        ("[[C]]", "[[A]]", "tie"),
        ("A", "[[A]]", "error"),
        ("[[7,7.1]]", "[[rating_a,rating_b]]", "tie"),
        ("[[7, 8]]", "[[rating_a,rating_b]]", "B"),
        ("[9,8]", "[[rating_a,rating_b]]", "A"),
        ("[[7]]", "[[rating_a,rating_b]]", "error"),
    ],
)
def test_a_winner_is_read_as_fastchat_reads_it(judgment, form, who):
    assert winner(judgment, form) == who


def test_winners_are_models_whichever_side_they_stood_on(folder):
    match = next(bench_of(folder).matches())
    said = dict(zip(match.asked, ["[[A]]", "[[A]]"], strict=True))
    line = match.line(said, JUDGE, 1.0)
    assert (line["g1_winner"], line["g2_winner"]) == ("model_1", "model_2")


def test_a_refused_judgment_has_no_rating(folder):
    one = next(bench_of(folder).gradings())
    [request] = judging.requests(one, 9)
    line = judging.judgment_line(one, {request["custom_id"]: REFUSED}, JUDGE, 1.0)
    assert line is not None
    assert (line["judgment"], line["score"]) == ("$ERROR$", -1)
    never = {request["custom_id"]: NEVER_RUN}
    assert judging.judgment_line(one, never, JUDGE, 1.0) is None


def test_what_is_judged_is_not_judged_again_unless_the_answer_changed(folder):
    judge_run(folder)
    for kind, judgings in (
        (SINGLE, bench_of(folder).gradings()),
        (PAIR, bench_of(folder).matches()),
    ):
        lines = {judging.key_of(it): it for it in folder.judgments(JUDGE, kind)}
        assert all(judging.is_judged(it, lines[it.key]) for it in judgings)
    answers = list(read_lines(folder.answer_file("one")))
    answers[0]["choices"][0]["turns"] = ["new", "new"]
    write_lines(folder.answer_file("one"), answers)
    graded = {judging.key_of(it): it for it in folder.judgments(JUDGE, SINGLE)}
    gradings = bench_of(folder).gradings()
    stale = [it.key for it in gradings if not judging.is_judged(it, graded[it.key])]
    assert stale == [(1, 7, "one"), (2, 7, "one")]


def grade(model, number, turn, score):
    return {"model": model, "question_id": number, "turn": turn, "score": score}


def test_the_average_is_that_of_all_ratings_that_were_read():
    lines = [grade("m", 7, 1, 8), grade("m", 8, 1, 4), grade("m", 7, 2, 3)]
    found = ratings([*lines, grade("m", 8, 2, -1)], CATEGORIES)["m"]
    assert (found.first_turn, found.second_turn, found.average) == (6, 3, 5)
    assert found.categories == {"writing": 5.5, "math": 4}
    assert (found.rated, found.judged) == (3, 4)


def match(first, second, number=7):
    models = {"model_1": "a", "model_2": "b", "question_id": number}
    return models | {"g1_winner": first, "g2_winner": second}


def test_a_win_needs_both_games_and_an_error_is_no_match():
    games = [("model_1", "model_1"), ("model_1", "model_2"), ("tie", "model_1")]
    games += [("model_2", "model_2"), ("error", "model_1")]
    found = standings([match(*it) for it in games], CATEGORIES)["a"].total
    assert (found.win, found.loss, found.tie, found.error) == (1, 1, 2, 1)
    assert found.win_rate_adjusted == 0.5


def test_a_baseline_is_not_listed():
    assert list(standings([match("tie", "tie")], CATEGORIES, "b")) == ["a"]


def test_the_report_is_tables_charts_and_json(folder, capsys):
    judge_run(folder)
    report = Report(folder)
    report.print()
    report.write()
    assert report.say_what_is_missing()
    shown = capsys.readouterr()
    assert "Ratings by judge" in shown.out
    assert "hold no rating" in shown.err
    for kind in (SINGLE, PAIR):
        chart = ET.parse(folder.path / f"{JUDGE}{kind}.svg")  # noqa: S314
        texts = {it.text for it in chart.iter("{http://www.w3.org/2000/svg}text")}
        assert {"writing", "math", "stem", "one", "two", "three"} <= texts
    scores = json.loads((folder.path / "scores.json").read_text())
    assert set(scores["single"][JUDGE]) == {"one", "two", "three"}


def test_noise_has_no_scores_and_the_report_says_so(folder, capsys):
    gradings = bench_of(folder).gradings()
    lines = [it.line({"user_prompt": "noise"}, JUDGE, 1.0) for it in gradings]
    write_lines(folder.judgment_file(JUDGE, SINGLE), lines)
    report = Report(folder)
    report.print()
    report.write()
    assert not report.say_what_is_missing()
    shown = capsys.readouterr()
    assert "24 of 24 judgments by judge hold no rating" in shown.err
    assert re.search(r"^one +- +- +- +0 of 8$", shown.out, re.MULTILINE)


def test_a_chart_escapes_names():
    chart = bar_chart("<&>", {"a<b": {"c&d": 5.0}}, top=10, form=".2f")
    root = ET.fromstring(chart)  # noqa: S314
    texts = [it.text for it in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"<&>", "a<b", "c&d", "5.00"} <= set(texts)


def test_a_run_keeps_its_questions(tmp_path):
    folder = Folder(tmp_path / "run")
    folder.set_questions(None)
    assert len(folder.questions()) == 80
    other = tmp_path / "other.jsonl"
    write_lines(other, QUESTIONS)
    with pytest.raises(RecipeError, match="other questions"):
        folder.set_questions(other)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("demo", Model("demo", "demo")),
        ("meta-llama/Llama-2-7b-chat-hf",) * 2,
        ("llama=meta-llama/Llama-2-7b-chat-hf",) * 2,
    ],
)
def test_a_model_s_id_names_its_files(text, model):
    found = Model.of(text)
    assert found.name == text.removeprefix("llama=")
    assert found == model or found.id in {"llama", "Llama-2-7b-chat-hf"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"question_id": "7", "category": "c", "turns": ["a"]}, "question_id"),
        ({"question_id": 7, "turns": ["a"]}, "category"),
        ({"question_id": 7, "category": "c", "turns": []}, "turns"),
        ({"question_id": 7, "category": "c", "turns": [1]}, "turns"),
        ([], "not a JSON object"),
    ],
)
def test_a_bad_question_is_named(tmp_path, line, message):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(RecipeError, match=message):
        read_questions(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_template": "{answer_b}"}, "'answer_b'"),
        ({"prompt_template": "{"}, "single-v1"),
        ({"name": "mine"}, "no prompt `single-v1`"),
        ({"output_format": "[[A]]"}, "do not fit"),
    ],
)
def test_a_bad_prompt_is_named(folder, tmp_path, change, message):
    own = tmp_path / "prompts.jsonl"
    lines = {it["name"]: it for it in read_lines(judge_prompt.SHIPPED)}
    write_lines(own, [lines["single-v1"] | change])
    with pytest.raises(RecipeError, match=message):
        JudgePrompts(own).choose("single", folder.questions()[0], 1).fill({})


def test_a_missing_reference_is_named(folder):
    bench = bench_of(folder)
    bench.references[8].pop()
    with pytest.raises(RecipeError, match=r"question 8 .* no reference for turn 2"):
        list(bench.gradings())


def test_a_missing_turn_is_named(folder):
    lines = list(read_lines(folder.answer_file("one")))
    lines[1]["choices"][0]["turns"].pop()
    write_lines(folder.answer_file("one"), lines)
    with pytest.raises(RecipeError, match="`one` has not answered question 8"):
        list(bench_of(folder).gradings())


@pytest.mark.parametrize(
    ("change", "message"),
    [({"question_id": 99}, "no question 99"), ({"turn": ...}, "`turn` is missing")],
)
def test_a_bad_judgment_is_named(folder, change, message):
    judge_run(folder)
    first, *others = folder.judgments(JUDGE, SINGLE)
    changed = {name: it for name, it in (first | change).items() if it is not ...}
    write_lines(folder.judgment_file(JUDGE, SINGLE), [*others, changed])
    with pytest.raises(RecipeError, match=f"judgment 24: .*{message}"):
        Report(folder)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (["show"], "nothing in .* is judged"),
        (["judge", "--judge", "j", "--models", "four"], "no answers of `four`"),
        (["judge", "--judge", "a:b"], "can't name a model's file"),
        (["judge", "--judge", "j", "--mode", "pairwise-baseline"], "--baseline ID"),
        (["judge", "--judge", "j", "--references", "none.jsonl"], "no file"),
        (["judge", "--judge", "j", "--judge-prompts", "none.jsonl"], "no prompt"),
        (["answer", "--models", "a:b"], "can't name a model's file"),
    ],
)
def test_what_can_t_be_done_is_said(folder, step, message, monkeypatch, capsys):
    arguments = ["mt_bench", *step, "--out", str(folder.path)]
    monkeypatch.setattr("sys.argv", arguments)
    assert recipe.main() == 2
    assert re.search(f"^error: .*{message}", capsys.readouterr().err)
