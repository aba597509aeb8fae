"""The search for a model reads a file while it is stored."""

import pytest

from batchchat.jobs.errors import UsageError
from batchchat.jobs.requests.named_model import ModelSearch, named_model

BARE = b'{"messages": []}\n'
ENVELOPE = b'{"custom_id": "a", "body": {"messages": []}}\n'
NULL = b'{"body": {"model": null}}\n'
NAMED = b'{"body": {"model": "demo"}}\n'
NAMED_BARE = b'{"model": "demo", "messages": []}\n'


def search(data, size=7, longest=1_000):
    found = ModelSearch(longest)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert b"".join(found.require(chunks)) == data
    return found.may_have_model


@pytest.mark.parametrize(
    "data", [BARE, ENVELOPE, NULL, b"x\n" + BARE, BARE + BARE[:-1]]
)
@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_requests_without_a_model_are_an_error(data, size):
    with pytest.raises(UsageError, match="no request names a model") as raised:
        search(data, size)
    assert "--model" in str(raised.value.hint)


@pytest.mark.parametrize("data", [NAMED, NAMED_BARE, BARE * 50 + NAMED, NAMED[:-1]])
def test_one_request_with_a_model_is_enough(data):
    assert search(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"no JSON\n", b'{"question": "hi"}\n', b"[1]\n", b'{"body": 1}'],
)
def test_other_mistakes_are_left_to_the_planner(data):
    assert not search(data)


def test_a_long_line_may_name_a_model():
    assert search(b'{"messages": ["' + b"x" * 2_000 + b'"]}', longest=100)


def test_the_beginning_of_a_file_names_a_model():
    assert named_model(b"\xef\xbb\xbf" + BARE + NAMED + BARE[:5]) == "demo"
    assert named_model(BARE + NAMED[:-2]) is None
