"""Reads the lines of a shard from the input file, as the planner did."""

from collections.abc import Iterator
from functools import cached_property

from batchchat.jobs.errors import CorruptObjectError, ObjectMissingError
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.ledger.missing_input import input_is_missing, record_missing_input
from batchchat.jobs.ledger.records import Shard
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.requests.line_reader import RawLine, iter_lines
from batchchat.jobs.requests.parser import InvalidLine, ParsedLine, Parser, parse_line
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.storage.protocol import stream_range


class ShardReader:
    """Reads the requests of one shard, one line at a time."""

    def __init__(self, context: BatchContext, shard: Shard) -> None:
        """Read `shard` of the context's batch."""
        self._context = context
        self._shard = shard

    def pending_lines(self, done: set[int]) -> Iterator[RawLine]:
        """Yield the lines that are not blank and whose numbers are not in `done`.

        Raises:
            ObjectMissingError: the input file was deleted, which is recorded.
            CorruptObjectError: the file does not have the shard's number of requests.
            StorageError: the input file can't be read.

        """
        context, shard = self._context, self._shard
        found = 0
        key = request_lines_key(context.ledger.keys, context.batch)
        chunks = stream_range(context.storage, key, shard.offset, shard.length)
        try:
            for line in iter_lines(
                chunks,
                context.max_line_bytes,
                offset=shard.offset,
                first_line=shard.first_line,
            ):
                blank = line.raw is not None and not line.raw.strip()
                found += not blank
                if not blank and line.number not in done:
                    yield line
        except ObjectMissingError:
            if input_is_missing(context.ledger, context.batch):
                record_missing_input(context.ledger, context.batch.id)
            raise
        self._check_count(found)

    def parse(self, line: RawLine) -> ParsedLine:
        """Return the request on a line, or why there is none.

        A line whose custom_id is already on an earlier line holds no valid request.
        That is its first problem, as in the planner's report.
        """
        parsed = parse_line(self._parser, line, self._context.max_line_bytes)
        if parsed.line not in self._shard.duplicate_lines:
            return parsed
        others = parsed.problems if isinstance(parsed, InvalidLine) else []
        message = "the custom_id is already on an earlier line"
        problem = Problem("duplicate_custom_id", parsed.line, message, "custom_id")
        return InvalidLine(parsed.line, parsed.custom_id, [problem, *others])

    def _check_count(self, found: int) -> None:
        """Check that the shard has as many requests as when it was planned.

        It could never be committed otherwise.
        """
        shard, batch = self._shard, self._context.batch
        if found != shard.requests:
            raise CorruptObjectError(
                f"the input `{batch.input_file_id}` has changed: from line"
                f" {shard.first_line} on, a shard has {found:,} requests instead of"
                f" {shard.requests:,}",
                hint="restore the input, or end the batch with"
                f" `batchchat cancel {batch.id}`, which keeps finished results",
            )

    @cached_property
    def _parser(self) -> Parser:
        model, batch = self._context.model, self._context.batch
        return Parser(
            model.name,
            model_optional=batch.model is not None,
            names=lambda _: (model.name, *model.aliases),
            time=batch.prompt_time,
        )
