"""Makes the input and the options of a retry."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import chain

import msgspec

from batchchat.jobs.errors import UsageError
from batchchat.jobs.json_lines import escape_line_breaks
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch
from batchchat.jobs.ledger.state import State
from batchchat.jobs.requests.schema import default_custom_id
from batchchat.jobs.results.joined_rows import JoinedRows, Row
from batchchat.jobs.results.output_reader import (
    ResultLine,
    decoded,
    failure_of,
    parse_result,
)
from batchchat.jobs.results.problem_report import ProblemReport

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def retry_options(
    original: Batch, max_cost: Decimal | None = None, *, merge: bool = False
) -> BatchOptions:
    """Return the options of a retry: the original batch's, and maybe another limit.

    The local `output` is not copied, as a retry never replaces results, nor are `rows`,
    as its input holds requests, and `reuse`, which has no answers to them.
    """
    names = BatchOptions.__struct_fields__
    options = BatchOptions(**{name: getattr(original, name) for name in names})
    return msgspec.structs.replace(
        options,
        retry_of=original.id,
        merge=merge,
        output=None,
        rows=None,
        rows_of=original.id if original.rows else original.rows_of,
        reuse=(),
        max_cost=original.max_cost if max_cost is None else max_cost,
    )


class RetryInput(Iterator[bytes]):
    """An iterator over the lines of the new input, each with its line feed.

    `requests` counts the lines so far.
    """

    def __init__(self, lines: Iterator[bytes]) -> None:
        """Iterate over `lines`."""
        self.requests = 0
        self._lines = lines

    def __next__(self) -> bytes:
        """Return the next line."""
        line = next(self._lines)
        self.requests += 1
        return line


def retry_input(ledger: Ledger, state: State) -> RetryInput:
    """Return the requests of an ended batch that failed or never ran.

    Requests that would fail again are left out: invalid lines, and requests that were
    rejected because of their content (status 4xx). Holds one line in memory.

    Raises:
        ConflictError: the batch has not ended.
        UsageError: there is nothing to retry.
        CorruptObjectError: the results are corrupt; raised during the iteration.

    """
    lines = _retried(ledger, state, JoinedRows(ledger, state))
    first = next(lines, None)
    if first is None:
        raise _nothing_to_retry(state)
    return RetryInput(chain([first], lines))


def _nothing_to_retry(state: State) -> UsageError:
    batch_id = state.batch.id
    counts = state.counts()
    if state.plan is None:
        return UsageError(
            f"nothing to retry: `{batch_id}` ended before its input was checked",
            hint="submit the file again with `batchchat submit FILE`",
        )
    if counts.completed == counts.total:
        return UsageError(
            f"nothing to retry: all requests of `{batch_id}` completed",
            hint=f"read the results with `batchchat results {batch_id}`",
        )
    return UsageError(
        f"nothing to retry: what failed in `{batch_id}` would fail again",
        hint=f"see the errors with `batchchat results {batch_id} --errors`",
    )


def _retried(ledger: Ledger, state: State, rows: JoinedRows) -> Iterator[bytes]:
    """Yield the lines to retry."""
    report = ProblemReport(ledger, state)
    for row in rows:
        if row.completed or report.of_line(row.line.number):
            continue
        result = parse_result(row)
        if not _is_refused(row, result):
            yield _with_custom_id(rows.raw(row.line), row, result)


def _is_refused(row: Row, result: ResultLine) -> bool:
    status_code = failure_of(row, result).status_code
    return status_code is not None and status_code < 500  # noqa: PLR2004 - HTTP's


def _with_custom_id(raw: bytes, row: Row, result: ResultLine) -> bytes:
    """Return the line, with its default custom_id if it has none of its own."""
    if result.custom_id == default_custom_id(row.line.number):
        custom_id = msgspec.json.encode(result.custom_id)
        fields = decoded(_fields, raw, "request", row)
        if "custom_id" not in fields:
            raw = b'{"custom_id":%b,%b' % (custom_id, raw.lstrip()[1:])
        elif bytes(fields["custom_id"]) == b"null":
            raw = msgspec.json.encode({**fields, "custom_id": msgspec.Raw(custom_id)})
    return escape_line_breaks(raw) + b"\n"
