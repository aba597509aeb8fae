"""Errors in regular expressions are found before an engine runs."""

import pytest

from batchchat.jobs.requests.json_schemas import SchemaProblem, find_backend
from batchchat.jobs.requests.regex_syntax import regex_problem
from tests.support.input_lines import parse_invalid, with_body


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(a", "`(` without `)` at character 1"),
        ("(?:a|(b)", "`(` without `)` at character 1"),
        ("((a)))", "`)` without `(` at character 6"),
        ("x[ab", "`[` without `]` at character 2"),
        ("[]", "`[` without `]` at character 1"),
        ("[a\\]", "`[` without `]` at character 1"),
        ("*a", "`*` has nothing to repeat at character 1"),
        ("a|+", "`+` has nothing to repeat at character 3"),
        ("(?:?)", "`?` has nothing to repeat at character 4"),
        ("{2}", "`{` has nothing to repeat at character 1"),
        ("a{2,1}", "the bounds of `{…}` are reversed at character 2"),
        ("a{,2}", "`{` is no repetition such as `{2}`, `{2,}` or `{2,5}` at"),
        ("a{b}", "`{` is no repetition such as `{2}`, `{2,}` or `{2,5}` at"),
        ("a(?=b)", "look-around is not supported at character 2"),
        ("(?<!b)a", "look-around is not supported at character 1"),
    ],
)
def test_error_is_described_with_its_position(pattern, problem):
    assert (regex_problem(pattern) or "").startswith(problem)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a|",
        "(|a)",
        r"\(\[\{\*",
        "[(*+?{]",
        "[]a]",
        "[^]",
        "a]}",
        "(?P<year>[0-9]{4})-(?<month>[0-9]{2,})",
        "(?i)a{1,3}?",
        r"\p{Lu}+\d*",
        "[[:alpha:]]+",
        r"(?x) a # (",
        "日本|語{2}",
        r"^(\+\d{1,2}\s)?\(?\d{3}\)?[\s.-]\d{3}[\s.-]\d{4}$",
    ],
)
def test_expression_that_a_compiler_accepts_has_no_problem(pattern):
    assert regex_problem(pattern) is None


def test_request_with_a_wrong_expression_is_invalid():
    found = parse_invalid(with_body(structured_outputs={"regex": "(a"}))
    [problem] = found.problems
    assert (problem.code, problem.in_body) == ("invalid_value", True)
    assert problem.param == "structured_outputs.regex"
    assert "`(` without `)`" in problem.message


def test_schema_with_a_wrong_pattern_is_invalid():
    found = find_backend({"items": {"type": "string", "pattern": "^[$"}})
    assert isinstance(found, SchemaProblem)
    assert found.path == ".items"
    assert "`[` without `]`" in found.message


def test_pattern_without_effect_is_not_checked():
    assert isinstance(find_backend({"type": "integer", "pattern": "^[$"}), str)
