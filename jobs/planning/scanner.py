"""Scans an input file: checks every line, and divides the file into shards.

It takes one pass, in memory that does not grow with the file: a chunk and a line.
Eight bytes per custom_id are kept on disk. The input is not rewritten: a shard is a
range of its bytes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from io import BytesIO
from itertools import islice
from operator import attrgetter
from sys import maxsize
from typing import NamedTuple, Protocol, Self

from msgspec.structs import replace

from batchchat.jobs.ledger.batch_options import DEFAULT_ON_INVALID
from batchchat.jobs.ledger.records import Shard
from batchchat.jobs.requests.duplicate_ids import CustomIdHashes, find_duplicates
from batchchat.jobs.requests.fast_path import TextOnlyLine, count_ignored
from batchchat.jobs.requests.ignored_fields import ignored_fields
from batchchat.jobs.requests.line_reader import (
    LineSplitter,
    RawLine,
    iter_lines,
    line_blocks,
)
from batchchat.jobs.requests.parser import InvalidLine, Parser, parse_line
from batchchat.jobs.requests.problems import (
    MAX_LISTED_PROBLEMS,
    Problem,
    ProblemLog,
    fails_batch,
)
from batchchat.jobs.requests.schema import Request

_BLOCK_BYTES = 64 * 1024
"""Bytes that are checked together; they fit into the processor's cache."""

_PROGRESS_EVERY_LINES = 4_096
"""Lines between two progress reports."""


class Limits(NamedTuple):
    """The maximum sizes of a shard and of a line, and of a batch of rows."""

    shard_requests: int
    shard_bytes: int
    max_line_bytes: int
    requests_of_rows: int = maxsize


class PromptCheck(Protocol):
    """Checks whether a model can answer a request."""

    max_unchecked_bytes: int
    """Shorter lines of plain text need no check; it may grow."""

    def __call__(self, request: Request) -> Problem | None:
        """Return the problem of a request, if any."""
        ...


@dataclass(slots=True)
class Scan:
    """The result of a pass over the input.

    `failing_problems` counts those that fail a batch with the option `on_invalid`.
    """

    on_invalid: str = DEFAULT_ON_INVALID
    requests: int = 0
    invalid: int = 0
    ignored_fields: Counter[str] = field(default_factory=Counter)
    """Numbers of valid requests, by fields that have no effect."""
    shards: list[Shard] = field(default_factory=list)
    problems: ProblemLog = field(default_factory=ProblemLog)
    problem_count: int = 0
    failing_problems: int = 0

    def add(self, problems: list[Problem]) -> None:
        """Add the next problems."""
        self.problem_count += len(problems)
        self.failing_problems += sum(map(self.is_failing, problems))
        self.problems.add(problems)

    def replace_problems(self, problems: Iterable[Problem]) -> None:
        """Replace all problems; `problems` may be made from the present ones."""
        replaced, self.problems = self.problems, ProblemLog()
        self.problem_count = self.failing_problems = 0
        added = iter(problems)
        while some := list(islice(added, MAX_LISTED_PROBLEMS)):
            self.add(some)
        replaced.close()

    def duplicate_lines(self) -> set[int]:
        """Return the lines whose custom_id already occurs on an earlier line."""
        return {line for shard in self.shards for line in shard.duplicate_lines}

    def is_failing(self, problem: Problem) -> bool:
        """Return whether a problem fails the batch."""
        return fails_batch(problem, self.on_invalid)

    def first_problems(self) -> list[Problem]:
        """Return the problems that a Batch object lists: those that failed it.

        If none did and invalid lines are skipped, it lists the problems of these.
        """
        listed = iter(self.problems) if self.on_invalid == "skip" else iter(())
        if self.failing_problems:
            listed = filter(self.is_failing, self.problems)
        return list(islice(listed, MAX_LISTED_PROBLEMS))


def scan(
    read: Callable[[], Iterable[bytes]],
    parser: Parser,
    limits: Limits,
    *,
    check: PromptCheck | None = None,
    on_invalid: str = DEFAULT_ON_INVALID,
    place_of: Callable[[int], str] = lambda line: f"on line {line:,}",
    on_progress: Callable[[int, int], object] = lambda _bytes, _requests: None,
) -> Scan:
    """Check every line and divide the input into shards.

    Invalid input is reported in the result and raises no error. `read` opens the input,
    and is called twice. `place_of` says where a line is. `on_progress` is called with
    the bytes and requests so far.
    """
    lines = LineSplitter(limits.max_line_bytes)
    reported = 0
    with _Scanner(parser, limits, check, on_invalid, place_of) as scanner:
        for block in line_blocks(read(), _BLOCK_BYTES):
            scanner.add_block(block, lines)
            if lines.number - reported > _PROGRESS_EVERY_LINES:
                reported = lines.number
                on_progress(lines.offset, scanner.found.requests)
        for line in lines.finish():
            scanner.add_line(line)
        return scanner.finish(iter_lines(read(), limits.max_line_bytes))


class _Scanner:
    def __init__(
        self,
        parser: Parser,
        limits: Limits,
        check: PromptCheck | None,
        on_invalid: str,
        place_of: Callable[[int], str],
    ) -> None:
        self.found = Scan(on_invalid)
        self._place_of = place_of
        self._parser = parser
        self._limits = limits
        self._check = check
        self._custom_ids = CustomIdHashes()
        self._cutter = _Cutter(limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._custom_ids.close()
        if kind is not None:  # they will not be read
            self.found.problems.close()

    def add_block(self, block: bytes, lines: LineSplitter) -> None:
        """Check the next bytes: all at once if they are simple lines, else by line.

        Most blocks of most files are simple.
        """
        if not lines.at_line_start or not self._add_fast(block, lines):
            for line in lines.split(block):
                self.add_line(line)

    def add_line(self, line: RawLine) -> None:
        """Check one line and add it to a shard."""
        raw = line.raw if line.length <= self._safe_length else None
        plain = self._parser.parse_fast([raw], raw) if raw else None
        if plain is None:
            self._add_parsed(line)
        else:
            self._cutter.add(line.number, line.offset, line.length, 1)
            self._count(plain)

    def _add_fast(self, block: bytes, lines: LineSplitter) -> bool:
        """Add a block of whole, valid, short lines; return False if it is not one."""
        raws = BytesIO(block).readlines()  # faster than `split`
        if not block.endswith(b"\n") or len(max(raws, key=len)) > self._safe_length:
            return False
        plain = self._parser.parse_fast(raws, block)
        if plain is None:
            return False
        self._cutter.add_all(lines.number, lines.offset, raws, len(block))
        lines.skip(len(raws), len(block))
        self._count(plain)
        return True

    @property
    def _safe_length(self) -> int:
        """The bytes up to which a line of plain text needs no check of its length."""
        most = self._limits.max_line_bytes
        return min(most, self._check.max_unchecked_bytes - 1) if self._check else most

    def _count(self, plain: list[TextOnlyLine]) -> None:
        self.found.requests += len(plain)
        self.found.ignored_fields += count_ignored(plain)
        self._custom_ids.add_all([line.custom_id for line in plain])

    def _add_parsed(self, line: RawLine) -> None:
        if line.raw is not None and not line.raw.strip():
            self._cutter.add(line.number, line.offset, line.length, 0)
            return
        self._cutter.add(line.number, line.offset, line.length, 1)
        self.found.requests += 1
        custom_id, problems = self._check_line(line)
        if custom_id is not None:
            self._custom_ids.add_all([custom_id])
        if problems:
            self.found.invalid += 1
            self.found.add(problems)

    def _check_line(self, line: RawLine) -> tuple[str | None, list[Problem]]:
        result = parse_line(self._parser, line, self._limits.max_line_bytes)
        if isinstance(result, InvalidLine):
            return result.custom_id, result.problems
        problem = self._check(result) if self._check else None
        if problem is None:
            self.found.ignored_fields.update(ignored_fields(result))
        return result.custom_id, [problem] if problem else []

    def finish(self, again: Iterator[RawLine]) -> Scan:
        """Close the last shard, and find duplicate custom_ids."""
        found = self.found
        found.shards = self._cutter.finish()
        hashes = self._custom_ids.duplicate_hashes()
        if hashes:
            self._add_duplicates(find_duplicates(again, hashes, self._custom_id_of))
        if not found.requests:
            found.add([Problem("empty_file", None, "the file has no requests")])
        return found

    def _custom_id_of(self, line: RawLine) -> str | None:
        return parse_line(self._parser, line, self._limits.max_line_bytes).custom_id

    def _add_duplicates(self, repeated: Iterator[tuple[int, int, str]]) -> None:
        found = self.found
        bad = {problem.line for problem in found.problems}
        lines: list[int] = []
        twice = Scan(found.on_invalid)
        for line, earlier, custom_id in repeated:
            lines.append(line)
            found.invalid += line not in bad
            message = f"`{custom_id[:80]}` is already {self._place_of(earlier)}"
            twice.add([Problem("duplicate_custom_id", line, message, "custom_id")])
        found.shards = list(_with_duplicate_lines(found.shards, lines))
        by_line = attrgetter("line")
        found.replace_problems(merge(twice.problems, found.problems, key=by_line))
        twice.problems.close()


class _Cutter:
    """Collects lines into shards."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._shards: list[Shard] = []
        self._first = 0
        self._lines = 0
        self._begin = 0
        self._end = 0
        self._requests = 0

    def add(self, number: int, offset: int, length: int, requests: int) -> None:
        """Add the next line, to a new shard if this one would become too large."""
        if not self._lines or not self._has_room(length, 1):
            self._close()
            self._first, self._begin = number, offset
        self._take(1, offset + length, requests)

    def add_all(self, number: int, offset: int, raws: list[bytes], length: int) -> None:
        """Add the next lines, each with a request; `length` is their total size."""
        if self._lines and self._has_room(length, len(raws)):
            self._take(len(raws), offset + length, len(raws))
            return
        for raw in raws:
            self.add(number, offset, len(raw), 1)
            number += 1
            offset += len(raw)

    def finish(self) -> list[Shard]:
        """Return all shards."""
        self._close()
        return self._shards

    def _has_room(self, length: int, requests: int) -> bool:
        return (
            self._requests + requests <= self._limits.shard_requests
            and self._end + length - self._begin <= self._limits.shard_bytes
        )

    def _take(self, lines: int, end: int, requests: int) -> None:
        self._lines += lines
        self._end = end
        self._requests += requests

    def _close(self) -> None:
        """End the current shard, unless it has no requests."""
        if self._requests:
            shard = Shard(
                index=len(self._shards),
                offset=self._begin,
                length=self._end - self._begin,
                first_line=self._first,
                lines=self._lines,
                requests=self._requests,
            )
            self._shards.append(shard)
        self._lines = self._requests = 0


def _with_duplicate_lines(shards: list[Shard], lines: list[int]) -> Iterator[Shard]:
    """Yield the shards with their part of the sorted `lines`."""
    at = 0
    for shard in shards:
        end = at
        while end < len(lines) and lines[end] < shard.first_line + shard.lines:
            end += 1
        mine = tuple(lines[at:end])
        yield replace(shard, duplicate_lines=mine) if mine else shard
        at = end
