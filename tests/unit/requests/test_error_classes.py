"""Problems of a line are of its form, or errors of its body as OpenAI reports them."""

import json

import pytest

from batchchat.jobs.requests.problems import Problem, fails_batch
from tests.support.input_lines import ABSENT, line, parse_invalid, with_body

FORM = {
    "no JSON": (b"{", "invalid_json_line", None),
    "no UTF-8": (line(custom_id="\u00e9").replace(b"\\u00e9", b"\xe9"), None, None),
    "no object": (b"[1]", "invalid_request", None),
    "no custom_id": (
        line(custom_id=ABSENT),
        "missing_required_parameter",
        "custom_id",
    ),
    "an invalid custom_id": (line(custom_id=7), "invalid_type", "custom_id"),
    "an empty custom_id": (line(custom_id=""), None, "custom_id"),
    "a wrong method": (line(method="GET"), "invalid_method", "method"),
    "a wrong url": (line(url="/v1/embeddings"), "invalid_url", "url"),
    "no url": (line(url=ABSENT), "missing_required_parameter", "url"),
    "no body": (line(body=ABSENT), "missing_required_parameter", "body"),
    "a body that is no object": (line(body=[]), "invalid_type", "body"),
    "an unknown field": (line(**{"body.n": 1}), "unknown_parameter", "body.n"),
    "a different model": (with_body(model="x"), "mismatched_model", "body.model"),
    "a bare custom_id": (
        b'{"custom_id": 1, "messages": [{"role": "user", "content": "a"}], "n": 0}',
        "invalid_type",
        "custom_id",
    ),
}
PART = {"type": "image_url", "image_url": {"url": "x"}}
BODY = {
    "an unknown field": ({"foo": 1}, "unknown_parameter", "foo"),
    "an unsupported field": ({"audio": {}}, "unsupported_parameter", "audio"),
    "a wrong type": ({"temperature": "hot"}, "invalid_type", "temperature"),
    "no messages": ({"messages": ABSENT}, "missing_required_parameter", "messages"),
    "a role": (
        {"messages": [{"role": "bot", "content": "a"}]},
        "invalid_value",
        "messages[0].role",
    ),
    "an unsupported part": (
        {"messages": [{"role": "user", "content": [PART]}]},
        "invalid_value",
        "messages[0].content[0].type",
    ),
    "fields at odds": ({"top_logprobs": 1}, "invalid_value", "top_logprobs"),
    "a model that is no name": ({"model": 7}, "invalid_type", "model"),
}


@pytest.mark.parametrize(("raw", "code", "param"), FORM.values(), ids=FORM)
def test_problems_of_the_form_name_the_field_of_the_line(raw, code, param):
    first = parse_invalid(raw).problems[0]
    assert not first.in_body
    assert first.param == param
    assert first.code == (code or first.code)


@pytest.mark.parametrize(("fields", "code", "param"), BODY.values(), ids=BODY)
def test_errors_of_the_body_name_the_field_of_the_body(fields, code, param):
    assert parse_invalid(with_body(**fields)).problems == [
        Problem(code, 7, problem_text(fields), param, in_body=True)
    ]


def problem_text(fields):
    """Return the message, which other tests check."""
    return parse_invalid(with_body(**fields)).problems[0].message


def test_a_line_with_both_has_the_problem_of_the_form_first():
    raw = json.loads(with_body(foo=1, model="x")) | {"method": "GET"}
    found = parse_invalid(json.dumps(raw).encode()).problems
    assert [one.param for one in found] == ["method", "foo"]
    found = parse_invalid(with_body(foo=1, model="x")).problems
    assert [one.param for one in found] == ["body.model", "foo"]


@pytest.mark.parametrize(
    ("on_invalid", "fails"), [("openai", "01"), ("fail", "012"), ("skip", "0")]
)
def test_the_option_decides_which_problems_fail_the_batch(on_invalid, fails):
    problems = [
        Problem("model_not_found", None, "the file"),
        Problem("invalid_json_line", 1, "the form"),
        Problem("invalid_value", 1, "the body", "n", in_body=True),
    ]
    failing = [i for i, one in enumerate(problems) if fails_batch(one, on_invalid)]
    assert failing == [*map(int, fails)]
