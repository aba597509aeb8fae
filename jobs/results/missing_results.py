"""Makes error lines for the requests that have no result when a batch ends."""

import logging
from collections.abc import Iterator
from itertools import islice

from batchchat.jobs.errors import CorruptObjectError, ObjectMissingError
from batchchat.jobs.execution import output_lines
from batchchat.jobs.ids import request_id
from batchchat.jobs.ledger.checkpoint import FinishedLine
from batchchat.jobs.ledger.cost_limit import MAX_COST_REACHED
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.missing_input import (
    INPUT_MISSING,
    MISSING_INPUT_MESSAGE,
    input_is_missing,
)
from batchchat.jobs.ledger.records import Shard
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.ledger.state import State
from batchchat.jobs.requests.line_reader import RawLine, iter_lines
from batchchat.jobs.requests.parser import InvalidLine, Parser, parse_line
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.results.problem_report import ProblemReport
from batchchat.jobs.rows.row_options import row_name
from batchchat.jobs.storage.protocol import stream_range

log = logging.getLogger(__name__)

_CORRUPT_RESULT = (
    "result_damaged",
    "The stored result of this request was damaged; retry the batch to rerun it.",
)
_INPUT_MISSING = (INPUT_MISSING, MISSING_INPUT_MESSAGE)
_COST_LIMIT_REACHED = (
    MAX_COST_REACHED,
    "This request was not executed because the batch reached its `max_cost`.",
)
_NEVER_RUN = {
    "cancelled": (
        "batch_cancelled",
        "This request could not be executed before the batch was cancelled.",
    ),
    "expired": (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
}


class MissingResults:
    """The error lines of one batch, for one shard after the other.

    If all lines of the batch are invalid, its shards were not run, and the lines get
    the problems that the planner has reported.
    """

    def __init__(self, ledger: Ledger, state: State, status: str) -> None:
        """Make lines for a batch that ends with `status`."""
        self._ledger = ledger
        self._batch = state.batch
        self._reason = _never_run_reason(status, state)
        self._max_line_bytes = state.plan.max_line_bytes if state.plan else 0
        self.are_failures = state.plan is not None and not state.plan.has_valid_lines
        self._report = ProblemReport(ledger, state)
        self._parser = Parser()

    def of_shard(
        self, shard: Shard, done: set[int], *, are_damaged: bool
    ) -> list[FinishedLine]:
        """Return an error line for each request that is not in `done`.

        If the input file is missing, their custom_ids are unknown. `are_damaged` states
        that some of them had a result.
        """
        reason = _CORRUPT_RESULT if are_damaged else self._reason
        try:
            return [
                self._finished(line.number, self._text(line, reason))
                for line in self._lines(shard)
                if line.number not in done
            ]
        except ObjectMissingError:
            if not input_is_missing(self._ledger, self._batch):
                raise
        missing = (line for line in shard.line_numbers if line not in done)
        return [
            self._finished(line, self._never_run(line, None, _INPUT_MISSING))
            for line in islice(missing, shard.requests - len(done))
        ]

    def _finished(self, line: int, text: bytes) -> FinishedLine:
        return FinishedLine(line, completed=False, text=text)

    def _lines(self, shard: Shard) -> Iterator[RawLine]:
        """Yield the lines of a shard that are not blank."""
        key = request_lines_key(self._ledger.keys, self._batch)
        chunks = stream_range(self._ledger.storage, key, shard.offset, shard.length)
        for line in iter_lines(
            chunks,
            self._max_line_bytes,
            offset=shard.offset,
            first_line=shard.first_line,
        ):
            if line.raw is None or line.raw.strip():
                yield line

    def _text(self, line: RawLine, reason: tuple[str, str]) -> bytes:
        custom_id = parse_line(self._parser, line, self._max_line_bytes).custom_id
        if self.are_failures:
            problems = self._problems(line.number)
            if problems:
                invalid = InvalidLine(line.number, custom_id, problems)
                row = row_name(self._batch.rows, line.number)
                return output_lines.invalid(self._name(line.number), invalid, row)
            reason = _CORRUPT_RESULT
        return self._never_run(line.number, custom_id, reason)

    def _problems(self, line: int) -> list[Problem]:
        try:
            return self._report.of_line(line)
        except (CorruptObjectError, ObjectMissingError) as error:
            log.error("problems are lost: %s", error)  # noqa: TRY400 - not a bug
            return []

    def _never_run(
        self, line: int, custom_id: str | None, reason: tuple[str, str]
    ) -> bytes:
        code, message = reason
        if custom_id is None:
            message = f"line {line}: {message}"
        return output_lines.never_run(self._name(line), custom_id, code, message)

    def _name(self, line: int) -> str:
        return request_id(self._batch.id, line)


def _never_run_reason(status: str, state: State) -> tuple[str, str]:
    """Return the error code and message for requests that never ran."""
    reached = state.cancel is not None and state.cancel.reason == MAX_COST_REACHED
    if status == "cancelled" and reached:
        return _COST_LIMIT_REACHED
    return _NEVER_RUN[status if status in _NEVER_RUN else "cancelled"]
