"""The results of a batch and of its retries, as one."""

from collections.abc import Iterator

from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.requests.line_reader import RawLine
from batchchat.jobs.results.joined_rows import JoinedRows, Row
from batchchat.jobs.results.output_reader import parse_result


class MergedRows:
    """The requests of the first batch of a chain of retries, with their last results.

    The input of a retry is a part of the lines of the batch that it repeats, in the
    same order, so the streams are merged by their custom_ids. Holds one line and one
    chunk of each stream.
    """

    def __init__(self, ledger: Ledger, state: State) -> None:
        """Merge the retry of `state`; raises `ConflictError` if it has not ended."""
        chain = [state]
        while chain[-1].batch.retry_of is not None:
            chain.append(ledger.state(chain[-1].batch.retry_of))
        self._chain = [JoinedRows(ledger, one) for one in reversed(chain)]

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows in the order of the first batch's input."""
        first, *retries = self._chain
        rows = iter(first)
        for retry in retries:
            rows = _merged(rows, iter(retry))
        return rows

    def raw(self, line: RawLine) -> bytes:
        """Return the bytes of a line of the first batch's input."""
        return self._chain[0].raw(line)


def _merged(rows: Iterator[Row], retried: Iterator[Row]) -> Iterator[Row]:
    """Yield `rows`, with the results of those that were retried replaced."""
    new = next(retried, None)
    for row in rows:
        if new is None or row.completed or _custom_id(row) != _custom_id(new):
            yield row
        else:
            yield Row(row.line, completed=new.completed, result=new.result)
            new = next(retried, None)


def _custom_id(row: Row) -> str | None:
    return parse_result(row).custom_id
