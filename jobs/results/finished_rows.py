"""Joins requests of a running batch with those of their results that are finished."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from batchchat.jobs.errors import CorruptObjectError
from batchchat.jobs.ledger.checkpoint import FinishedLine
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Shard
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.ledger.state import State
from batchchat.jobs.requests.line_reader import RawLine, iter_lines
from batchchat.jobs.results.joined_rows import Row
from batchchat.jobs.storage.protocol import stream_range


class FinishedRows:
    """Results in any order, each with its request.

    Reads the requests of a shard once as long as its results are in order. Holds one
    line and one chunk.
    """

    def __init__(
        self, ledger: Ledger, state: State, results: Iterable[FinishedLine]
    ) -> None:
        """Join `results` of the batch of `state`, which has a plan if there are any."""
        self._storage = ledger.storage
        self._key = request_lines_key(ledger.keys, state.batch)
        self._plan = state.plan
        self._results = results
        self._shard: Shard | None = None
        self._lines: Iterator[RawLine] = iter(())
        self._at = 0

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows in the order of the results.

        Raises:
            CorruptObjectError: a result has no request.

        """
        for result in self._results:
            line = self._line(result.line)
            yield Row(line, completed=result.completed, result=result.text)

    def raw(self, line: RawLine) -> bytes:
        """Return the bytes of a request, however long it is."""
        if line.raw is not None:
            return line.raw
        return self._storage.read(self._key, line.offset, line.length)

    def _line(self, number: int) -> RawLine:
        shard = self._shard
        if shard is None or number not in shard.line_numbers or number <= self._at:
            self._open_shard_of(number)
        for line in self._lines:
            self._at = line.number
            if line.number == number:
                return line
        raise CorruptObjectError(f"the result of line {number:,} has no request")

    def _open_shard_of(self, number: int) -> None:
        plan = self._plan
        shards = plan.shards if plan else []
        at = bisect_right(shards, number, key=lambda shard: shard.first_line) - 1
        if plan is None or at < 0:
            raise CorruptObjectError(f"the result of line {number:,} has no shard")
        shard = self._shard = shards[at]
        chunks = stream_range(self._storage, self._key, shard.offset, shard.length)
        self._at = 0
        self._lines = iter_lines(
            chunks,
            plan.max_line_bytes,
            offset=shard.offset,
            first_line=shard.first_line,
        )
