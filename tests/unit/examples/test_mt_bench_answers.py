"""Questions of the MT-Bench recipe, and answers in FastChat's format."""

import json
from collections import Counter

import pytest

from examples.batch import RecipeError, read_lines, write_lines
from examples.mt_bench import answer, question
from examples.mt_bench.folder import Folder, Model
from examples.mt_bench.question import read_questions
from tests.support.mt_bench_run import NEVER_RUN, QUESTIONS, REFUSED, answered


def ask(questions, choices=1, seed=0):
    return list(answer.requests(questions, choices=choices, seed=seed, max_tokens=9))


def line_of(one, results, choices=1):
    how = {"model_id": "m", "choices": choices, "now": 1.5}
    return answer.answer_line(one, results, **how)


def test_eighty_questions_of_two_turns_are_shipped():
    questions = read_questions(question.SHIPPED)
    assert set(Counter(it.category for it in questions).values()) == {10}
    assert len(questions) == 80
    assert {len(it.turns) for it in questions} == {2}
    assert all(len(it.reference) == 2 for it in questions if it.needs_reference)
    assert len({turn for it in questions for turn in it.turns}) == 160


def test_a_generated_turn_is_between_two_questions(folder):
    body = ask(folder.questions())[0]["body"]
    assert body["messages"] == [
        {"role": "user", "content": "Wt {1}"},
        {"role": "assistant", "generate": True},
        {"role": "user", "content": "W2"},
    ]


def test_each_category_has_its_temperature():
    warm = dict.fromkeys(["writing", "roleplay"], 0.7)
    cool = dict.fromkeys(["stem", "humanities"], 0.1)
    cold = dict.fromkeys(["extraction", "math", "coding", "reasoning"], 0.0)
    questions = read_questions(question.SHIPPED)
    assert {it.category: it.temperature for it in questions} == warm | cool | cold


@pytest.mark.parametrize(
    ("more", "temperature"), [({}, 0.7), ({"required_temperature": 0.3}, 0.3)]
)
def test_other_questions_have_a_default_temperature(tmp_path, more, temperature):
    line = {"question_id": 1, "category": "poems", "turns": ["a"]} | more
    write_lines(tmp_path / "q.jsonl", [line])
    [one] = read_questions(tmp_path / "q.jsonl")
    assert one.temperature == temperature


def test_each_choice_has_its_own_seed(folder):
    lines = ask(folder.questions(), choices=3, seed=5)
    assert [it["body"]["seed"] for it in lines[:3]] == [5, 6, 7]
    assert len({it["custom_id"] for it in lines}) == 12


def test_an_answer_has_fastchat_format(folder):
    one = folder.questions()[0]
    line = line_of(one, {"7-0": answered(" second\n", [" first "])})
    assert len(line.pop("answer_id")) == 22
    assert line == {
        "question_id": 7,
        "model_id": "m",
        "choices": [{"index": 0, "turns": ["first", "second"]}],
        "tstamp": 1.5,
    }


def test_a_rejected_question_has_the_answer_error(folder):
    one = folder.questions()[0]
    line = line_of(one, {"7-0": answered("b", ["a"]), "7-1": REFUSED}, choices=2)
    assert line["choices"][1] == {"index": 1, "turns": ["ERROR", "ERROR"]}


def test_a_question_that_never_ran_has_no_answer(folder):
    one = folder.questions()[0]
    assert line_of(one, {"7-0": NEVER_RUN}) is None


def test_the_last_answer_to_a_question_counts(folder):
    path = folder.answer_file("one")
    first = next(read_lines(path))
    path.write_text(path.read_text() + json.dumps(first | {"tstamp": 9.0}) + "\n")
    assert answer.read_answers(path)[7]["tstamp"] == 9.0


def test_a_run_rejects_other_questions(tmp_path):
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
def test_the_model_id_is_given_or_derived(text, model):
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
def test_an_invalid_question_is_reported(tmp_path, line, message):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(RecipeError, match=message):
        read_questions(path)
