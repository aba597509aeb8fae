"""Buffers the results of an attempt and writes them to checkpoints.

::

    recover ─► results of earlier attempts
    add, add_turn ─► buffer ─── flush, every few seconds ───► checkpoints
                                                                  │
    commit ◄──────────── every line has a result ◄────────────────┘

If the process dies, only what was in the buffer has to be generated again.
"""

import time
from collections.abc import Sequence

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.engine.protocol import Completion
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.checkpoint import Result, pack
from batchchat.jobs.ledger.partial_turns import PartialTurn, pack_turns, read_turns
from batchchat.jobs.ledger.records import Counts, Part, Shard
from batchchat.jobs.ledger.recovery import RecoveredResults, recover

_MAX_BUFFERED_BYTES = 4 * 1024 * 1024


class CheckpointWriter:
    """The results of one attempt at one shard; for one thread."""

    def __init__(self, context: BatchContext, shard: Shard, attempt_id: str) -> None:
        """Start without results."""
        self._context = context
        self._shard = shard.index
        self._lines = shard.line_numbers
        self._attempt_id = attempt_id
        self._saved = RecoveredResults()
        self._recovered_turns: dict[int, list[Completion]] = {}
        self._buffer: list[Result] = []
        self._buffered_turns: list[PartialTurn] = []
        self._buffered_bytes = 0
        self._buffered_since = 0.0
        self._objects_written = 0
        self.checkpoints = 0
        """The number of checkpoints that this attempt has written."""

        self.engines = {context.engine.fingerprint: context.engine.identity}
        """The engines that have produced the results, by fingerprint."""

    @property
    def lines(self) -> set[int]:
        """The lines whose results are in a checkpoint."""
        return self._saved.lines

    def recover(self, stored: list[str]) -> None:
        """Read the checkpoints of earlier attempts, whose keys are in `stored`.

        Raises `StorageError`.
        """
        context = self._context
        place = context.storage, context.keys, self._shard
        self._saved = recover(*place, self._lines, stored)
        self._recovered_turns = read_turns(*place, stored)
        context.progress.add_recovered(self._saved.counts, self._saved.usage)

    def take_recovered_turns(self, line: int) -> Sequence[Completion]:
        """Return and forget the answers to the first turns of an unfinished request."""
        return self._recovered_turns.pop(line, ())

    def add(self, result: Result) -> None:
        """Buffer a result until the next checkpoint."""
        self._append(result)
        self._context.progress.add([result])

    def add_reused(self, result: Result) -> None:
        """Buffer a result that was not computed; it says nothing about the speed."""
        self._append(result)
        self._context.progress.add_recovered(Counts(1, 1, 0), result.usage)

    def add_failure(self, line: int, text: bytes) -> None:
        """Buffer the error line of a request without an answer."""
        self.add(
            Result(line, completed=False, usage=Usage(), engine_seconds=0.0, text=text)
        )

    def add_turn(self, line: int, number: int, answer: Completion) -> None:
        """Buffer the answer to turn `number` (from 0) of an unfinished request."""
        self._start_age_if_empty()
        self._buffered_turns.append(PartialTurn(line, number, answer))

    def flush_if_due(self) -> None:
        """Write a checkpoint if the buffer is old or large. Raises `StorageError`."""
        if not (self._buffer or self._buffered_turns):
            return
        age_seconds = time.monotonic() - self._buffered_since
        if (
            age_seconds >= self._context.checkpoint_seconds
            or self._buffered_bytes >= _MAX_BUFFERED_BYTES
        ):
            self.flush()

    def flush(self) -> None:
        """Write the buffer to a checkpoint. Raises `StorageError`."""
        self._flush_turns()
        if not self._buffer:
            return
        context = self._context
        packed = pack(self._buffer, self.engines)
        key = context.keys.checkpoint(
            self._shard, self._attempt_id, self._objects_written
        )
        context.storage.put(key, packed.data)
        part = Part(key, len(packed.data), packed.sha256)
        self._saved.add(part, self._buffer, self.engines)
        self._objects_written += 1
        self._buffer = []
        self._buffered_bytes = 0
        self.checkpoints += 1

    def commit(self) -> None:
        """Make the results final, unless another attempt has committed before."""
        context = self._context
        now = context.ledger.now()
        commit = self._saved.commit(self._shard, self._attempt_id, now)
        context.storage.create(context.keys.commit(self._shard), records.encode(commit))

    def hand_back(self) -> None:
        """Record the checkpoints for the end of the batch, if it ends now.

        Some stores list an object only seconds after it was written.
        """
        if self._saved.parts:
            context, now = self._context, self._context.ledger.now()
            record = self._saved.commit(self._shard, self._attempt_id, now)
            key = context.keys.handed_back(self._shard)
            context.storage.put(key, records.encode(record))

    def _append(self, result: Result) -> None:
        self._start_age_if_empty()
        self._buffer.append(result)
        self._buffered_bytes += len(result.text)

    def _start_age_if_empty(self) -> None:
        if not (self._buffer or self._buffered_turns):
            self._buffered_since = time.monotonic()

    def _flush_turns(self) -> None:
        """Write the turns of requests that have no result yet."""
        if not self._buffered_turns:
            return
        finished = self._saved.lines | {result.line for result in self._buffer}
        turns = [turn for turn in self._buffered_turns if turn.line not in finished]
        self._buffered_turns = []
        if turns:
            context = self._context
            key = context.keys.partial_turns(
                self._shard, self._attempt_id, self._objects_written
            )
            context.storage.put(key, pack_turns(turns))
            self._objects_written += 1
