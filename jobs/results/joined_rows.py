"""Joins the requests of an ended batch with their results."""

from collections.abc import Iterator

import msgspec

from batchchat.jobs.errors import ConflictError, CorruptObjectError
from batchchat.jobs.ids import request_ids
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Outcome
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.ledger.state import State
from batchchat.jobs.requests.line_reader import RawLine, iter_lines, split_lines

_LINE_BYTES = 8 * 1024 * 1024
"""Longer input lines are not held; they are read again if they are needed."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """A request and its result.

    `result` is a line of the output file if `completed`, else of the error file. It has
    no line feed.
    """

    line: RawLine
    completed: bool
    result: bytes


class JoinedRows:
    """A merge of the input, the output file and the error file.

    All three are in the order of the input, so the result of the next line is the next
    one of either file. They are joined by the ids of the results, which follow from the
    line numbers and, unlike custom_ids, are unique. Holds one line and one chunk of
    each file in memory.
    """

    def __init__(self, ledger: Ledger, state: State) -> None:
        """Read the batch of `state`. Raises `ConflictError` unless it has ended."""
        self._batch = state.batch
        self._final = outcome_of(state)
        self._storage = ledger.storage
        self._keys = ledger.keys

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows in the order of the input; none if the batch had no plan.

        Raises:
            CorruptObjectError: a request has no result, or a result has no request.

        """
        output = self._results(self._final.output_file_id)
        errors = self._results(self._final.error_file_id)
        good, bad = next(output, b""), next(errors, b"")
        id_of = request_ids(self._batch.id)
        for line in self._lines():
            head = b'{"id":"%b",' % id_of(line.number).encode()
            if good.startswith(head):
                yield Row(line, completed=True, result=good)
                good = next(output, b"")
            elif bad.startswith(head):
                yield Row(line, completed=False, result=bad)
                bad = next(errors, b"")
            elif self.raw(line).strip():
                message = f"`{self._batch.id}` has no result for line {line.number:,}"
                raise CorruptObjectError(message)
        if good or bad:
            message = f"`{self._batch.id}` has a result that belongs to no input line"
            raise CorruptObjectError(message)

    def raw(self, line: RawLine) -> bytes:
        """Return the bytes of a line of the input, however long it is."""
        if line.raw is not None:
            return line.raw
        key = request_lines_key(self._keys, self._batch)
        return self._storage.read(key, line.offset, line.length)

    def _lines(self) -> Iterator[RawLine]:
        if not self._final.counts.total:  # cancelled before it was planned
            return iter(())
        key = request_lines_key(self._keys, self._batch)
        return iter_lines(self._storage.stream(key), _LINE_BYTES)

    def _results(self, file_id: str | None) -> Iterator[bytes]:
        if file_id is None:
            return iter(())
        return split_lines(self._storage.stream(self._keys.content(file_id)))


def outcome_of(state: State) -> Outcome:
    """Return the final record of a batch.

    Raises:
        ConflictError: the batch has not ended, or has failed and so has no results.

    """
    if state.final is not None:
        return state.final
    batch_id = state.batch.id
    if state.status == "failed":
        raise ConflictError(
            f"`{batch_id}` failed, so it has no results",
            hint=f"see the problems of its input with `batchchat status {batch_id}`",
        )
    raise ConflictError(
        f"`{batch_id}` has not ended: it is {state.status}",
        hint=f"see its progress with `batchchat status {batch_id}`",
    )
