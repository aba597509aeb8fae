"""Judge prompts, matches and verdicts of the MT-Bench recipe."""

from collections import Counter

import pytest

from examples.batch import RecipeError, read_lines, write_lines
from examples.mt_bench import judge_prompt, judging
from examples.mt_bench.folder import PAIR, SINGLE
from examples.mt_bench.judge_prompt import JudgePrompts
from examples.mt_bench.verdict import rating, winner
from tests.support.mt_bench_run import (
    JUDGE,
    NEVER_RUN,
    QUESTIONS,
    REFUSED,
    bench_of,
    judge_run,
    make_run,
)


def test_shipped_prompts_have_fastchat_names():
    names = [it["name"] for it in read_lines(judge_prompt.SHIPPED)]
    plain = [f"{kind}-v1" for kind in ("single", "single-math", "pair-math")]
    assert sorted(names) == sorted(
        f"{name}{turn}" for name in ("pair-v2", *plain) for turn in ("", "-multi-turn")
    )


def test_a_judge_gets_the_answer_and_its_reference(folder):
    gradings = {(it.turn, it.question.id): it for it in bench_of(folder).gradings()}
    for (turn, number), it in gradings.items():
        shown = [text for text in ("R1", "R2") if text in it.user_prompt]
        expected = ["R1", "R2"][:turn] if number == 8 else []
        assert shown == expected
        assert (f"{it.model} {{a}} {turn}") in it.user_prompt
        assert ("{a} 2" in it.user_prompt) == (turn == 2)
        assert "not judged" not in it.user_prompt


def test_each_turn_of_an_answer_is_graded(folder):
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


def test_the_second_game_swaps_the_answers(folder):
    match = next(bench_of(folder).matches("two"))
    first, second = match.asked.values()
    assert match.models == ("one", "two")
    assert first.index("one {a}") < first.index("two {a}")
    assert second.index("two {a}") < second.index("one {a}")


def test_matches_are_all_pairs_or_all_against_a_baseline(folder):
    bench = bench_of(folder)
    pairs = {it.models for it in bench.matches()}
    assert pairs == {("one", "three"), ("one", "two"), ("three", "two")}
    assert {it.models for it in bench.matches("one")} == {
        ("three", "one"),
        ("two", "one"),
    }


def test_a_judge_request_is_greedy_and_has_a_system_prompt(folder):
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
def test_ratings_are_parsed_as_by_fastchat(judgment, score):
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
def test_winners_are_parsed_as_by_fastchat(judgment, form, who):
    assert winner(judgment, form) == who


def test_winners_are_models_whatever_their_side(folder):
    match = next(bench_of(folder).matches())
    said = dict(zip(match.asked, ["[[A]]", "[[A]]"], strict=True))
    line = match.line(said, JUDGE, 1.0)
    assert (line["g1_winner"], line["g2_winner"]) == ("model_1", "model_2")


def test_a_failed_judgment_has_no_rating(folder):
    one = next(bench_of(folder).gradings())
    [request] = judging.requests(one, 9)
    line = judging.judgment_line(one, {request["custom_id"]: REFUSED}, JUDGE, 1.0)
    assert line is not None
    assert (line["judgment"], line["score"]) == ("$ERROR$", -1)
    never = {request["custom_id"]: NEVER_RUN}
    assert judging.judgment_line(one, never, JUDGE, 1.0) is None


def test_only_changed_answers_are_judged_again(folder):
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_template": "{answer_b}"}, "'answer_b'"),
        ({"prompt_template": "{"}, "single-v1"),
        ({"name": "mine"}, "no prompt `single-v1`"),
        ({"output_format": "[[A]]"}, "do not match"),
    ],
)
def test_an_invalid_prompt_is_reported(folder, tmp_path, change, message):
    own = tmp_path / "prompts.jsonl"
    lines = {it["name"]: it for it in read_lines(judge_prompt.SHIPPED)}
    write_lines(own, [lines["single-v1"] | change])
    with pytest.raises(RecipeError, match=message):
        JudgePrompts(own).choose("single", folder.questions()[0], 1).fill({})


def test_a_missing_reference_is_reported(folder):
    bench = bench_of(folder)
    bench.references[8].pop()
    with pytest.raises(RecipeError, match=r"question 8 .* no reference for turn 2"):
        list(bench.gradings())


def test_a_missing_turn_is_reported(folder):
    lines = list(read_lines(folder.answer_file("one")))
    lines[1]["choices"][0]["turns"].pop()
    write_lines(folder.answer_file("one"), lines)
    with pytest.raises(RecipeError, match="`one` has not answered question 8"):
        list(bench_of(folder).gradings())
