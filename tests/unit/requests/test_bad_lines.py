"""Every problem of a line as a whole is reported with its code and field."""

import pytest

from tests.support.input_lines import (
    ABSENT,
    MESSAGES,
    encoded,
    line,
    problems_of,
    with_body,
    with_raw_body,
)

NOT_JSON = [("invalid_json_line", None)]
GOOD = line().decode()

UNREADABLE = {
    "no JSON": b"hello",
    "cut off": line()[:-1],
    "two values": line() + line(),
    "a comment": line() + b" // why",
    "a comma at the end": line()[:-1] + b",}",
    "single quotes": line().replace(b'"', b"'"),
    "a control character in a string": line().replace(b"hi", b"h\x01i"),
    "Latin-1": line().replace(b"hi", "hé".encode("latin-1")),
    "half of UTF-8": line().replace(b"hi", b"h\xc3"),
    "a surrogate in UTF-8": line().replace(b"hi", b"\xed\xa0\x80"),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-16 without a mark": GOOD.encode("utf-16-le"),
    "UTF-32": GOOD.encode("utf-32"),
    "a byte order mark": b"\xef\xbb\xbf" + line(),
    "NaN": with_body(temperature=float("nan")),
    "Infinity": with_body(temperature=float("inf")),
    "minus Infinity": with_body(min_p=float("-inf")),
    "1e400": with_raw_body('"temperature": 1e400'),
    "-1e999": with_raw_body('"logit_bias": {"1": -1e999}'),
    "a number of 5,000 digits": with_raw_body('"seed": ' + "9" * 5_000),
    "a leading zero": with_raw_body('"seed": 07'),
    "a leading plus": with_raw_body('"seed": +7'),
    "hexadecimal": with_raw_body('"seed": 0x7'),
    "nested 100,000 deep": with_raw_body('"user": ' + "[" * 100_000 + "]" * 100_000),
    "unclosed 100,000 deep": b"[" * 100_000,
    "True": with_raw_body('"logprobs": True'),
}


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE)
def test_a_line_that_is_not_json_is_an_error(raw):
    assert problems_of(raw) == NOT_JSON


def missing(*params):
    return [("missing_required_parameter", param) for param in params]


WRONG = {
    "an array": (b"[]", [("invalid_request", None)]),
    "a string": (b'"hi"', [("invalid_request", None)]),
    "a number": (b"7", [("invalid_request", None)]),
    "null": (b"null", [("invalid_request", None)]),
    "nothing": (b"{}", missing("custom_id", "method", "url", "body")),
    "no custom_id": (line(custom_id=ABSENT), missing("custom_id")),
    "no method": (line(method=ABSENT), missing("method")),
    "no url": (line(url=ABSENT), missing("url")),
    "no body": (line(body=ABSENT), missing("body")),
    "custom_id null": (line(custom_id=None), [("invalid_type", "custom_id")]),
    "custom_id number": (line(custom_id=7), [("invalid_type", "custom_id")]),
    "custom_id empty": (line(custom_id=""), [("string_below_min_length", "custom_id")]),
    "custom_id of 513": (
        line(custom_id="é" * 513),
        [("string_above_max_length", "custom_id")],
    ),
    "custom_id half": (line(custom_id="\ud800"), [("invalid_value", "custom_id")]),
    "method GET": (line(method="GET"), [("invalid_method", "method")]),
    "method lower": (line(method="post"), [("invalid_method", "method")]),
    "method null": (line(method=None), [("invalid_method", "method")]),
    "url embeddings": (line(url="/v1/embeddings"), [("invalid_url", "url")]),
    "url with a slash": (line(url="/v1/chat/completions/"), [("invalid_url", "url")]),
    "url list": (line(url=["/v1/chat/completions"]), [("invalid_url", "url")]),
    "body null": (line(body=None), [("invalid_type", "body")]),
    "body list": (line(body=[]), [("invalid_type", "body")]),
    "body text": (line(body="{}"), [("invalid_type", "body")]),
    "a field too many": (line(customid="b"), [("unknown_parameter", "customid")]),
    "half a name": (line(**{"\ud800": 1}), [("unknown_parameter", "\\ud800")]),
    "a body's field": (line(audio={}), [("unsupported_parameter", "audio")]),
    "bare, not a list": (b'{"messages": 7}', [("invalid_type", "messages")]),
    "bare, empty id": (
        encoded({"custom_id": "", "messages": MESSAGES}),
        [("string_below_min_length", "custom_id")],
    ),
    "bare, with a method": (
        encoded({"method": "POST", "messages": MESSAGES}),
        [("unknown_parameter", "method")],
    ),
}


@pytest.mark.parametrize(("raw", "expected"), WRONG.values(), ids=WRONG)
def test_every_problem_names_its_field(raw, expected):
    assert problems_of(raw) == expected


TWICE = {
    "a line's key": (line()[:-1] + b', "custom_id": "b"}', "custom_id"),
    "the body": (line()[:-1] + b', "body": {"messages": []}}', "body"),
    "a body's key": (with_raw_body('"n": 1, "n": 2'), "n"),
    "the same value": (with_raw_body('"n": 1, "n": 1'), "n"),
    "a null": (with_raw_body('"n": null, "n": 1'), "n"),
    "a space before": (with_raw_body('"n": 1, "n" : 2'), "n"),
    "a tab before": (with_raw_body('"n": 1, "n"\t: 2'), "n"),
    "a return before": (with_raw_body('"n": 1, "n"\r: 2'), "n"),
    "an escaped key": (with_raw_body('"n": 1, "\\u006e": 2'), "n"),
    "a text that hides it": (
        with_raw_body('"n":1, "n":2, "user": "\\"\\u003a"'),
        "n",
    ),
    "and in capitals": (with_raw_body('"n":1, "n":2, "user": "\\"\\u003A"'), "n"),
    "a quote escaped": (with_raw_body('"n":1, "n":2, "user": "\\u0022:"'), "n"),
    "metadata": (with_raw_body('"metadata": {"a:": "", "a:": ""}'), "metadata.a:"),
    "a bias": (with_raw_body('"logit_bias": {"5": 1, "5": 1}'), "logit_bias.5"),
    "a message's": (
        line().replace(b'"content"', b'"role": "user", "content"'),
        "messages[0].role",
    ),
    "a bare body's": (b'{"n": 1, "n": 1, "messages": []}', "n"),
}


@pytest.mark.parametrize(("raw", "param"), TWICE.values(), ids=TWICE)
def test_a_duplicate_key_is_an_error(raw, param):
    assert ("duplicate_key", param) in problems_of(raw)


def test_colons_in_texts_are_not_taken_for_duplicate_keys():
    text = '": \\u003a \\u0022: "n":1,"n":2 \\":'
    assert (
        problems_of(with_body(user=text, messages=[{"role": "user", "content": text}]))
        == []
    )
    assert problems_of(with_raw_body('"user": "\\u003a \\u0022:", "n" : 1')) == []


@pytest.mark.timeout(10)
def test_a_line_with_very_many_keys_is_rejected_quickly():
    pairs = ", ".join(f'"k{number % 49_999}": ""' for number in range(50_000))
    raw = with_raw_body(f'"metadata": {{{pairs}}}')
    assert problems_of(raw)[0] == ("duplicate_key", "metadata.k0")
