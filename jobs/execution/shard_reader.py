"""The lines of a shard, read where the input lies, as the planner has read them."""

from collections.abc import Iterator
from functools import cached_property

from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.ledger.missing_input import is_lost, note_lost
from batchchat.jobs.ledger.records import Shard
from batchchat.jobs.requests.line_reader import RawLine, iter_lines
from batchchat.jobs.requests.parser import InvalidLine, Parser, parse_line
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.requests.schema import Request
from batchchat.jobs.storage.protocol import ranged


class ShardReader:
    """Reads the requests of one shard; holds one line of the input."""

    def __init__(self, task: BatchContext, shard: Shard) -> None:
        """Read `shard` of the task's batch."""
        self._task = task
        self._shard = shard

    def pending_lines(self, done: set[int]) -> Iterator[RawLine]:
        """Yield the lines that are neither blank nor `done`.

        Raises:
            ObjectMissingError: the input is gone; that it is, is noted.
            StorageError: it can't be read.

        """
        task, shard = self._task, self._shard
        key = task.ledger.keys.content(task.batch.input_file_id)
        chunks = ranged(task.storage, key, shard.offset, shard.length)
        try:
            for line in iter_lines(
                chunks,
                task.max_line_bytes,
                offset=shard.offset,
                first_line=shard.first_line,
            ):
                blank = line.raw is not None and not line.raw.strip()
                if not blank and line.number not in done:
                    yield line
        except ObjectMissingError:
            if is_lost(task.ledger, task.batch):
                note_lost(task.ledger, task.batch.id)
            raise

    def parse(self, line: RawLine) -> Request | InvalidLine:
        """Return what a line holds; a custom_id that came before is no request."""
        parse = parse_line(self._parser, line, self._task.max_line_bytes)
        if isinstance(parse, InvalidLine) or parse.line not in self._shard.repeated:
            return parse
        message = "the custom_id is already on an earlier line"
        problem = Problem("duplicate_custom_id", parse.line, message, "custom_id")
        return InvalidLine(parse.line, parse.custom_id, [problem])

    @cached_property
    def _parser(self) -> Parser:
        omitted = self._task.batch.model is not None
        return Parser(self._task.model.name, model_optional=omitted)
