"""Checking lines in blocks gives the same result as checking them one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.planning.scanner import scan
from batchchat.jobs.requests.line_reader import line_blocks
from batchchat.jobs.requests.parser import Parser
from batchchat.jobs.requests.problems import Problem
from tests.support.input_lines import line, with_body, with_message, with_raw_body
from tests.support.planned import PLENTY, limits, listed, scanned
from tests.unit.requests.test_line_reader import chunks, cuts, files

OTHERS = [
    with_body(stream=True),
    with_body(model="m"),
    with_body(model="another"),
    with_body(n=2),
    with_message(content="x" * 300),
    with_message(content="é: \u003a"),
    with_raw_body('"seed": 1, "seed": 1'),
    with_raw_body('"seed": 1, "seed": 1, "user": "\\u003a"'),
    line(custom_id="a:"),
    line()[:-1],
    line() * 2,
    b"",
    b" ",
]
usual = st.builds(lambda name: line(custom_id=name), st.sampled_from("abcdefgh"))
mostly_usual = st.lists(usual | usual | usual | st.sampled_from(OTHERS), max_size=30)


class Check:
    """Refuses all lines that it is shown."""

    max_unchecked_bytes = 200

    def __call__(self, request):
        return Problem("shown", request.line, "", in_body=True)


def one_by_one(data):
    """Return `data` in chunks of which none is a line."""
    return [data[at : at + 7] for at in range(0, len(data), 7)]


def told(found, problems):
    return found.shards, found.requests, found.invalid, found.ignored_fields, problems


@pytest.fixture(params=[400, 2_000, 64 * 1024], scope="module")
def block(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batchchat.jobs.planning.scanner._BLOCK_BYTES", request.param)
        yield


@pytest.mark.usefixtures("block")
@given(mostly_usual, limits, st.sampled_from([None, Check()]))
def test_the_plan_is_that_of_single_lines(raws, limits, check):
    data = b"\n".join(raws)
    single = scan(lambda: one_by_one(data), Parser("m"), limits, check=check)
    together = scanned(data, limits, check=check)
    assert told(*together) == told(*listed(single))


def test_a_repeated_key_is_found_among_many_lines():
    twice = with_raw_body('"seed": 1, "seed": 1')
    raws = [line(custom_id=str(number)) for number in range(100)]
    _, problems = scanned(b"\n".join([*raws[:50], twice, *raws[50:]]))
    assert [(p.code, p.line) for p in problems] == [("duplicate_key", 51)]


def test_a_colon_in_a_text_does_not_replace_a_missing_key():
    twice = with_raw_body('"seed": 1, "seed": 1')
    colon = line(custom_id="b").replace(b"hi", b"\\u003a")
    _, problems = scanned(b"\n".join([line(custom_id="c"), twice, colon]) + b"\n")
    assert [(p.code, p.line) for p in problems] == [("duplicate_key", 2)]


@pytest.mark.parametrize("at", [1, -1])
def test_a_chunk_may_end_anywhere_within_a_line(at):
    data = b" " + line() + b"\n" + line(custom_id="b") + b"\n"
    cut, problems = listed(scan(lambda: [data[:at], data[at:]], Parser("m"), PLENTY))
    assert told(cut, problems) == told(*scanned(data))


@given(files, cuts, st.integers(1, 20))
def test_blocks_are_the_file_cut_behind_lines(data, sizes, size):
    found = list(line_blocks([data], size))
    assert b"".join(found) == data
    assert all(block.endswith(b"\n") for block in found[:-1])
    assert all(len(b) <= size or b"\n" not in b[:-1] for b in found)
    assert b"".join(line_blocks(chunks(data, sizes), size)) == data
