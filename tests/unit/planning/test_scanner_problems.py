"""All problems of a file are reported, in the order of its lines."""

import pytest
from hypothesis import given

from batchchat.jobs.planning.scanner import scan
from batchchat.jobs.requests.parser import InvalidLine, Parser, parse_line
from batchchat.jobs.requests.problems import MAX_LISTED_PROBLEMS, Problem
from tests.support.input_lines import line, with_body
from tests.support.planned import PLENTY, files, limits, lines_of, listed, scanned


def lines(*custom_ids):
    return b"\n".join(line(custom_id=custom_id) for custom_id in custom_ids)


@given(files, limits)
def test_exactly_the_invalid_lines_are_reported(data, limits):
    found, problems = scanned(data, limits)
    own = {p.line for p in problems if p.code != "duplicate_custom_id"}
    parser = Parser("m")
    bad = [
        line.number
        for line in lines_of(data, limits)
        if isinstance(parse_line(parser, line, limits.max_line_bytes), InvalidLine)
    ]
    assert own - {None} == set(bad)
    assert found.invalid == len({p.line for p in problems} - {None})


@given(files, limits)
def test_problems_come_in_the_order_of_the_lines(data, limits):
    found, problems = scanned(data, limits)
    numbers = [problem.line or 0 for problem in problems]
    assert numbers == sorted(numbers)
    assert found.problem_count == len(problems)


@given(files, limits)
def test_a_line_with_a_duplicate_id_is_recorded_in_its_shard(data, limits):
    found, problems = scanned(data, limits)
    repeated = [p.line for p in problems if p.code == "duplicate_custom_id"]
    noted = [number for shard in found.shards for number in shard.duplicate_lines]
    assert noted == repeated
    for shard in found.shards:
        places = range(shard.first_line, shard.first_line + shard.lines)
        assert set(shard.duplicate_lines) <= set(places)


def test_the_later_of_two_equal_ids_is_the_error():
    found, problems = scanned(
        lines("a", "b", "a", "b", "a"), PLENTY._replace(shard_requests=2)
    )
    assert [shard.duplicate_lines for shard in found.shards] == [(), (3, 4), (5,)]
    assert [p.message for p in problems] == [
        "`a` is already on line 1",
        "`b` is already on line 2",
        "`a` is already on line 1",
    ]
    assert found.invalid == 3


def test_an_invalid_line_with_a_duplicate_id_counts_once():
    found, problems = scanned(lines("a") + b"\n" + line(custom_id="a", method="GET"))
    assert [p.code for p in problems] == [
        "duplicate_custom_id",
        "invalid_method",
    ]
    assert found.invalid == 1


@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf"])
def test_a_file_without_requests_is_an_error(data):
    found, problems = scanned(data)
    assert [(p.code, p.line) for p in problems] == [("empty_file", None)]
    assert (found.requests, found.shards) == (0, [])


def test_a_too_long_line_reports_its_size_and_the_limit():
    _, problems = scanned(line() + b"\n", PLENTY._replace(max_line_bytes=99))
    (problem,) = problems
    assert problem.code == "line_too_long"
    assert f"{len(line()) + 1} bytes; the limit is 99" in problem.message


class Check:
    """Finds the third line too long."""

    def __init__(self, max_unchecked_bytes):
        self.max_unchecked_bytes = max_unchecked_bytes
        self.seen = []

    def __call__(self, request):
        self.seen.append(request.line)
        return Problem("too_long", request.line, "") if request.line == 3 else None


def test_the_prompt_check_sees_valid_lines_and_its_problems_are_reported():
    check = Check(max_unchecked_bytes=0)
    _, problems = scanned(line(custom_id="a") + b"\n{\n" + line(), check=check)
    assert check.seen == [1, 3]
    assert [p.code for p in problems if p.line == 3] == [
        "duplicate_custom_id",
        "too_long",
    ]


def test_short_lines_skip_the_prompt_check():
    check = Check(max_unchecked_bytes=len(line()) + 1)
    scanned(line(custom_id="x") + b"\n" + line() + b"\n" + line(), check=check)
    assert check.seen == [1, 2]


def test_hostile_file_names_are_stored_unchanged():
    hostile = {"\ud800": 1, "a\0b": 1, "\U0010ffff": 1, "x" * 200: 1}
    _, problems = scanned(with_body(**hostile))
    assert [p.code for p in problems] == ["unknown_parameter"] * 4


def test_a_batch_object_lists_the_first_thousand_problems():
    found = scan(lambda: [b"{\n" * (MAX_LISTED_PROBLEMS + 5)], Parser("m"), PLENTY)
    first = [problem.line for problem in found.first_problems()]
    assert first == list(range(1, MAX_LISTED_PROBLEMS + 1))
    assert len(listed(found)[1]) == found.problem_count == MAX_LISTED_PROBLEMS + 5


def test_an_unreadable_line_does_not_reserve_a_custom_id():
    _, problems = scanned(b"{\n" + line(custom_id="request-1"))
    assert [problem.code for problem in problems] == ["invalid_json_line"]


def test_without_a_batch_model_every_line_must_name_one():
    data = with_body(model="demo") + b"\n" + line(custom_id="b")
    _, problems = listed(scan(lambda: [data], Parser(), PLENTY))
    assert [(p.line, p.param) for p in problems] == [(2, "model")]
