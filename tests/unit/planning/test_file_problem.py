"""A mistake that all lines share is one problem of the file."""

import json

import pytest

from batchchat.jobs.planning.file_problem import condense
from batchchat.jobs.planning.scanner import scan
from batchchat.jobs.requests.parser import Parser
from tests.support.input_lines import line, with_body
from tests.support.planned import PLENTY, listed


def problems_of(data, model=None):
    parser = Parser(model)
    found = scan(lambda: [data], parser, PLENTY)
    condense(found, parser.model)
    return listed(found)


def rows(*values):
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


ROWS = {
    "MT-Bench": ({"question_id": 81, "category": "writing", "turns": ["a"]}, "turns"),
    "questions": ({"question": "a", "answer": "b"}, "question"),
    "prompts": ({"id": 1, "prompt": "a"}, "prompt"),
    "Alpaca": ({"instruction": "a", "input": "", "output": "b"}, "instruction"),
    "ShareGPT": ({"conversations": [{"from": "human", "value": "a"}]}, "conversations"),
    "text": ({"text": "a"}, "text"),
    "a custom_id": ({"custom_id": "1", "prompt": "a"}, "custom_id"),
    "a name that is no word": ({"my column": "a"}, "my column"),
    "many columns": ({f"column_{number}": 1 for number in range(150)}, "column_0"),
}


@pytest.mark.parametrize(("row", "column"), ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("model", [None, "m"])
def test_rows_of_a_data_set_are_one_problem_that_names_the_columns(row, column, model):
    found, problems = problems_of(rows(row, row, row), model)
    (problem,) = problems
    assert (problem.code, problem.line) == ("not_requests", None)
    assert f"`{column}`" in problem.message
    assert ". Make a request of each row: `--prompt" in problem.message
    assert (found.requests, found.invalid, found.problem_count) == (3, 3, 1)


def test_the_hint_names_the_column_that_is_likely_the_prompt():
    _, (problem,) = problems_of(rows({"answer": "a", "question": "b"}))
    assert "`--prompt '{{ question }}'`" in problem.message
    _, (problem,) = problems_of(rows({"turns": ["a"]}))
    assert "`--prompt '{{ COLUMN }}'`" in problem.message


@pytest.mark.parametrize(
    ("data", "what"),
    [(rows("a", "b"), "a string"), (rows([1], [2]), "an array"), (rows(1, None), "1")],
)
def test_other_values_are_one_problem(data, what):
    _, (problem,) = problems_of(data)
    assert (problem.code, problem.line) == ("not_requests", None)
    assert what in problem.message
    assert '{"messages": [{"role": "user"' in problem.message


def test_lines_of_text_are_one_problem():
    _, (problem,) = problems_of(b"hello\nworld\n")
    assert (problem.code, problem.line) == ("invalid_json_line", None)
    assert '{"messages": [{"role": "user"' in problem.message


def test_a_file_without_models_is_one_problem():
    data = b"\n".join(line(custom_id=str(number)) for number in range(9))
    found, (problem,) = problems_of(data)
    assert (problem.line, problem.param) == (None, "model")
    assert "--model" not in problem.message  # it is also the API's
    assert (found.requests, found.invalid, found.problem_count) == (9, 0, 1)


def test_other_problems_of_a_file_without_models_remain():
    data = b"\n".join([line(custom_id="z"), with_body(top_k="x"), b"{"])
    found, problems = problems_of(data)
    assert [(p.line, p.param) for p in problems] == [
        (None, "model"),
        (2, "top_k"),
        (3, None),
    ]
    assert (found.invalid, found.problem_count) == (2, 3)


def test_lines_without_a_model_between_others_keep_their_problem():
    data = with_body(model="m") + b"\n" + line(custom_id="b")
    _, problems = problems_of(data)
    assert [(p.line, p.param) for p in problems] == [(2, "model")]


@pytest.mark.parametrize(
    "data",
    [
        rows({"prompt": "a"}) + line(model="m"),
        rows({"prompt": "a"}, "b"),
        rows({"prompt": "a"}) + b"{\n",
        b"hello\n{\n",
        b"{\n{\n",
        b"{}\n{}\n",
    ],
)
def test_different_mistakes_are_reported_by_line(data):
    _, problems = problems_of(data, "m")
    assert all(problem.line for problem in problems)


def test_a_valid_file_has_no_problem():
    assert problems_of(line(), "m")[1] == []


def test_an_empty_file_stays_an_empty_file():
    _, (problem,) = problems_of(b"")
    assert problem.code == "empty_file"
