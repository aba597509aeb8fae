"""Scans input files in memory."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from hypothesis import strategies as st

from batchchat.jobs.ledger.records import Shard
from batchchat.jobs.planning.scanner import Limits, Scan, scan
from batchchat.jobs.requests.line_reader import RawLine, iter_lines
from batchchat.jobs.requests.parser import Parser
from batchchat.jobs.requests.problems import Problem
from tests.support.input_lines import encoded, line

PLENTY = Limits(shard_requests=1_000, shard_bytes=1 << 20, max_line_bytes=1 << 20)

Scanned = tuple[Scan, list[Problem]]

_good = st.builds(lambda name: line(custom_id=name), st.sampled_from("abcd"))
_bare = st.just(encoded({"messages": [{"role": "user", "content": "bare"}]}))
_bad = st.sampled_from([b"{", b"\xff", line(method="GET", custom_id="a"), b"x" * 300])
_blank = st.sampled_from([b"", b"  ", b"\t"])
_ended = st.tuples(_good | _bare | _bad | _blank, st.sampled_from([b"\n", b"\r\n"]))

files = st.builds(
    lambda mark, lines, last: mark + b"".join(a + b for a, b in lines) + last,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(_ended, max_size=14),
    _good | _blank,
)
"""Files of good, bad and blank lines, with and without a last line feed."""

limits = st.builds(
    Limits, st.integers(1, 5), st.integers(1, 900), st.sampled_from([130, 250, 10_000])
)


def scanned(data: bytes, limits: Limits = PLENTY, **options: Any) -> Scanned:
    """Return the scan of a file and its problems."""
    return listed(scan(lambda: [data], Parser("m"), limits, **options))


def listed(found: Scan) -> Scanned:
    """Return a scan and its problems, and close its problem log."""
    with closing(found.problems):
        return found, list(found.problems)


def is_blank(line: RawLine) -> bool:
    """Return whether the line is blank."""
    return line.raw is not None and not line.raw.strip()


def lines_of(data: bytes, limits: Limits) -> list[RawLine]:
    """Return the lines of the file that are not blank."""
    lines = iter_lines([data], limits.max_line_bytes)
    return [line for line in lines if not is_blank(line)]


def read_again(data: bytes, shard: Shard, limits: Limits) -> Iterator[RawLine]:
    """Yield the lines of a shard as in a worker."""
    piece = data[shard.offset : shard.offset + shard.length]
    return iter_lines(
        [piece], limits.max_line_bytes, offset=shard.offset, first_line=shard.first_line
    )
