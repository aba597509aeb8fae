"""JSONL files and results in the recipes."""

import json

import pytest

from examples.batch import Batch, RecipeError, read_lines, write_lines

ANSWER = {"choices": [{"message": {"content": "Hi"}}]}


def test_results_are_answers_errors_or_never_ran(tmp_path):
    good = {"status_code": 200, "body": ANSWER}
    bad = {"status_code": 400, "body": {"error": {"message": "too long"}}}
    never = {"code": "batch_expired", "message": "not in time"}
    others: list[dict[str, object]] = [
        {"custom_id": "bad", "response": bad, "error": None},
        {"custom_id": "never", "response": None, "error": never},
    ]
    done = {"custom_id": "good", "response": good, "error": None}
    write_lines(tmp_path / "b.results.jsonl", [done])
    write_lines(tmp_path / "b.results.errors.jsonl", others)
    found = Batch(tmp_path, "b", "demo").results()
    assert found["good"].text == "Hi"
    assert (found["bad"].error, found["bad"].ran) == ("too long", True)
    assert (found["never"].error, found["never"].ran) == ("batch_expired", False)


@pytest.mark.parametrize("line", ["{", "[1]", "7", '"text"'])
def test_a_line_that_is_not_an_object_is_reported(tmp_path, line):
    path = tmp_path / "lines.jsonl"
    path.write_text(f"{json.dumps(ANSWER)}\n\n{line}\n")
    with pytest.raises(RecipeError, match=r"lines\.jsonl`, line 3: not"):
        list(read_lines(path))


def test_a_missing_file_has_no_lines(tmp_path):
    assert list(read_lines(tmp_path / "none.jsonl")) == []


def test_a_file_is_written_atomically(tmp_path):
    path = tmp_path / "folder" / "lines.jsonl"
    write_lines(path, [{"a": 1}])
    with pytest.raises(TypeError):
        write_lines(path, [{"a": 2}, {"a": object()}])
    assert list(read_lines(path)) == [{"a": 1}]
    assert list(path.parent.iterdir()) == [path]
