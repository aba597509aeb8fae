"""A file is divided into shards: every request is in exactly one of them."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.planning.scanner import Limits, scan
from batchchat.jobs.requests.parser import Parser
from tests.support.input_lines import line
from tests.support.planned import (
    PLENTY,
    files,
    is_blank,
    limits,
    lines_of,
    listed,
    read_again,
    scanned,
)


@given(files, limits)
def test_the_shards_hold_every_request_once_in_order(data, limits):
    found, _ = scanned(data, limits)
    again = [
        line
        for shard in found.shards
        for line in read_again(data, shard, limits)
        if not is_blank(line)
    ]
    assert again == lines_of(data, limits)
    assert found.requests == len(again)


@given(files, limits)
def test_a_shard_describes_its_range(data, limits):
    for index, shard in enumerate(scanned(data, limits)[0].shards):
        lines = list(read_again(data, shard, limits))
        assert shard.index == index
        assert shard.lines == len(lines)
        assert shard.requests == sum(not is_blank(line) for line in lines) > 0
        assert shard.length == sum(line.length for line in lines)


@given(files, limits)
def test_a_shard_keeps_its_limits_unless_it_is_one_line(data, limits):
    for shard in scanned(data, limits)[0].shards:
        assert shard.requests <= limits.shard_requests
        assert shard.length <= limits.shard_bytes or shard.lines == 1


@given(files, limits, st.lists(st.integers(1, 50), max_size=20))
def test_the_plan_does_not_depend_on_how_the_file_arrives(data, limits, sizes):
    cuts = [sum(sizes[:at]) for at in range(len(sizes) + 1)]
    ends = [*cuts[1:], len(data) + cuts[-1]]
    pieces = [data[a:b] for a, b in zip(cuts, ends, strict=True)]
    whole, problems = scanned(data, limits)
    cut, same = listed(scan(lambda: pieces, Parser("m"), limits))
    assert (cut.shards, same) == (whole.shards, problems)


def test_shards_are_as_full_as_their_limit():
    found, _ = scanned(b"\n".join([line()] * 7), PLENTY._replace(shard_requests=3))
    assert [shard.requests for shard in found.shards] == [3, 3, 1]
    assert [shard.first_line for shard in found.shards] == [1, 4, 7]


def test_only_blank_lines_are_in_no_shard():
    found, _ = scanned(b"\n" * 5 + line() + b"\n" * 5, PLENTY._replace(shard_bytes=1))
    assert [(shard.first_line, shard.lines) for shard in found.shards] == [(6, 1)]


def test_a_byte_order_mark_is_within_the_first_shard():
    found, _ = scanned(b"\xef\xbb\xbf" + line())
    assert (found.invalid, found.shards[0].offset) == (0, 0)
    assert found.shards[0].length == len(line()) + 3


def test_progress_is_reported_in_bytes_and_requests():
    heard = []
    data = (line() + b"\n") * 4096
    scanned(data, on_progress=lambda *what: heard.append(what))
    assert heard == [(len(data), 4096)]


def test_fields_without_effect_are_counted_by_request():
    cached = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    bodies: list[dict[str, Any]] = [
        {"stream": True, "user": "u"},
        {"stream": False, "user": None, "store": False, "metadata": {"a": "b"}},
        {"stream": True, "n": 2, "store": True, "priority": 3},
        {"messages": [{"role": "user", "content": [cached, cached]}] * 2},
        {"stream": True, "temperature": 9},
    ]
    message = {"role": "user", "content": "a"}
    lines = [
        line(custom_id=str(at), body={"messages": [message]} | body)
        for at, body in enumerate(bodies)
    ]
    found, _ = scanned(b"\n".join(lines))
    assert found.invalid == 1
    assert found.ignored_fields == {
        "stream": 2,
        "user": 1,
        "store": 1,
        "priority": 1,
        "messages[].content[].cache_control": 1,
    }


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_huge_line_is_an_error_and_is_not_held_in_memory(end):
    chunk = 1 << 20
    limits = Limits(shard_requests=10, shard_bytes=1 << 20, max_line_bytes=1 << 16)

    def read():
        yield line() + b"\n"
        yield from (b"x" * chunk for _ in range(30))
        yield end

    tracemalloc.start()
    found, problems = listed(scan(read, Parser("m"), limits))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(p.code, p.line) for p in problems] == [("line_too_long", 2)]
    assert [shard.requests for shard in found.shards] == [1, 1]
    assert peak < 3 * chunk
