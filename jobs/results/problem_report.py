"""Reads the report of a batch's input: the problems that its planner found."""

from collections.abc import Iterator

import msgspec

from batchchat.jobs.errors import CorruptObjectError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.requests.line_reader import iter_lines
from batchchat.jobs.requests.problems import Problem

_PROBLEM_BYTES = 1024 * 1024

_BEFORE_ALL = Problem("", 0, "")
_decoder = msgspec.json.Decoder(Problem)


class ProblemReport:
    """The problems of a batch's input, read in the order of the lines."""

    def __init__(self, ledger: Ledger, state: State) -> None:
        """Read the report of the batch, if it has one, but not before it is needed."""
        self._storage = ledger.storage
        self._key = ledger.keys.batch(state.batch.id).problems
        has_report = state.plan is not None and state.plan.invalid_lines > 0
        self._problems = self._read() if has_report else iter(())
        self._next: Problem | None = _BEFORE_ALL

    def of_line(self, number: int) -> list[Problem]:
        """Return the problems of a line; the numbers of later calls must be higher.

        Raises:
            CorruptObjectError: the report is corrupt.

        """
        found: list[Problem] = []
        while self._next is not None and (self._next.line or 0) <= number:
            if self._next.line == number:
                found.append(self._next)
            self._next = next(self._problems, None)
        return found

    def _read(self) -> Iterator[Problem]:
        for line in iter_lines(self._storage.stream(self._key), _PROBLEM_BYTES):
            try:
                yield _decoder.decode(line.raw or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                message = f"`{self._key}` is corrupt: {error}"
                raise CorruptObjectError(message) from None
