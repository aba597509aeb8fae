"""Finds the lines that a retry repeats, in the batch whose rows they were made of."""

from collections.abc import Iterator
from itertools import count

import msgspec

from batchchat.jobs.errors import CorruptObjectError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.requests.line_reader import split_lines


class _HasCustomId(msgspec.Struct):
    custom_id: str | None = None


_decoder = msgspec.json.Decoder(_HasCustomId)


class SourceLines:
    """The lines of the source of a retry, and of its retries.

    The input of a retry is a part of the lines of the batch that it repeats, in the
    same order, so the two are merged by their custom_ids. Holds one line of each.
    """

    def __init__(self, ledger: Ledger, batch: Batch) -> None:
        """Map the lines of `batch`, which is a retry."""
        self._ledger = ledger
        self._batch = batch
        self._restart()

    def of(self, lines: list[int]) -> list[int]:
        """Return the line of the source for each line, both counted from 1.

        Raises:
            CorruptObjectError: a line repeats none of the source.

        """
        if lines and lines[0] < self._at:
            self._restart()
        return [self._of(line) for line in lines]

    def _restart(self) -> None:
        self._at = self._found = 0
        self._lines = _source_lines(self._ledger, self._batch)

    def _of(self, line: int) -> int:
        while self._at < line:
            found = next(self._lines, None)
            if found is None:
                message = f"line {line:,} of `{self._batch.id}` repeats no other line"
                raise CorruptObjectError(message)
            self._at, self._found = self._at + 1, found
        return self._found


def _source_lines(ledger: Ledger, batch: Batch) -> Iterator[int]:
    """Yield the line of the source for each line of a batch."""
    if batch.rows is not None or batch.retry_of is None:
        yield from count(1)
        return
    repeated = ledger.batch(batch.retry_of)
    lines = zip(_custom_ids(ledger, repeated), _source_lines(ledger, repeated))  # noqa: B905 - the second is endless
    for wanted in _custom_ids(ledger, batch):
        for custom_id, line in lines:
            if custom_id == wanted:
                yield line
                break


def _custom_ids(ledger: Ledger, batch: Batch) -> Iterator[str | None]:
    key = request_lines_key(ledger.keys, batch)
    for line in split_lines(ledger.storage.stream(key)):
        try:
            yield _decoder.decode(line).custom_id
        except (msgspec.MsgspecError, UnicodeDecodeError):
            yield None
