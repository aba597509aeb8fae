"""One attempt at one shard: recover, feed the engine, checkpoint, commit.

::

    recover ─► feed ─► finish ─┬─ every line has a result ─► commit
                               └─ asked to stop ───────────► hand back

The process may be killed anywhere: the next attempt reads the checkpoints and
generates only the missing results. Concurrent attempts are safe, because each writes
under its own id and the commit is created only once. After repeated crashes an
attempt submits small groups of lines with exclusive use of the engine
(see `crash_bisection`).
"""

from collections.abc import Iterator

from batchchat.jobs.errors import EngineDeadError
from batchchat.jobs.execution.checkpoint_writer import CheckpointWriter
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.execution.crash_bisection import (
    AttemptMarker,
    CrashBisection,
    read_markers,
)
from batchchat.jobs.execution.request_order import order_requests
from batchchat.jobs.execution.reused_answers import ReusedAnswers
from batchchat.jobs.execution.shard_feeder import ShardFeeder
from batchchat.jobs.execution.shard_reader import ShardReader
from batchchat.jobs.ids import new_attempt_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.records import Shard
from batchchat.jobs.ledger.recovery import stored_keys
from batchchat.jobs.requests.line_reader import RawLine


class Attempt:
    """One attempt at `shard`: call `feed`, then `finish`, in the same thread."""

    def __init__(self, context: BatchContext, shard: Shard) -> None:
        """Prepare an attempt; nothing is read or written yet."""
        self.id = new_attempt_id()
        self._context = context
        self._shard = shard
        self._reader = ShardReader(context, shard)
        self._writer = CheckpointWriter(context, shard, self.id)
        self._feeder = ShardFeeder(context, self._writer, self.id)
        self._bisection = CrashBisection()
        self._holds_engine = False
        self._isolated_lines: tuple[int, ...] = ()
        self._engine_proven = False

    @property
    def progress_counter(self) -> int:
        """A number that grows as long as the attempt makes progress."""
        return self._feeder.progress_counter + self._writer.checkpoints

    @property
    def in_flight(self) -> int:
        """The number of its requests that the engine is processing."""
        return self._feeder.in_flight

    def feed(self) -> None:
        """Submit every request that has no result yet to the engine.

        Returns when all are submitted or the attempt was asked to stop.

        Raises:
            StorageError: the input or the checkpoints can't be read or written.

        """
        context = self._context
        place = context.storage, context.keys, self._shard.index
        stored = stored_keys(*place)
        self._writer.recover(stored)
        ReusedAnswers(context, self._shard, self._writer).copy(self._reader)
        markers = read_markers(*place, stored)
        self._bisection = CrashBisection(markers)
        isolated = self._bisection.needs_isolation
        self._holds_engine = context.engine_gate.acquire(
            exclusive=isolated, should_abandon=self._should_abandon
        )
        try:
            if self._holds_engine:
                self._feed_isolated_groups() if isolated else self._feed_all()
        except BaseException:
            self._release_engine()
            raise

    def finish(self) -> bool:
        """Wait for the answers, then commit the shard or hand it back.

        Returns whether every line has a result, and the shard is still planned.

        Raises:
            StorageError: the storage was unavailable for too long.
            EngineError: the engine died; finished results are checkpointed.

        """
        try:
            self._feeder.drain()
        finally:
            self._release_engine()
        failure, lines_at_death = self._feeder.failure, self._feeder.lines_at_death
        is_complete = len(self._writer.lines) == self._shard.requests
        if is_complete and not self._context.is_planned():
            is_complete = False  # the new plan has other shards
        elif is_complete:
            self._writer.commit()
        elif lines_at_death and isinstance(failure, EngineDeadError):
            self._write_marker(tuple(lines_at_death), failure.reason)
            self._writer.hand_back()
            raise failure
        if not is_complete:
            self._writer.hand_back()
        self.withdraw()
        if failure:
            raise failure
        return is_complete

    def withdraw(self) -> None:
        """Delete the attempt's marker: it did not crash. Raises `StorageError`."""
        self._context.storage.delete(self._marker_key)

    def _feed_all(self) -> None:
        """Submit all pending lines, as fast as the engine accepts them.

        All pending requests of the shard are held in memory in order to sort them.
        """
        self._write_marker()
        lines = map(self._reader.parse, self._pending_lines())
        is_tail = self._shard.index >= self._context.first_tail_shard
        self._feeder.submit_all(order_requests(lines, longest_first=is_tail))

    def _feed_isolated_groups(self) -> None:
        """Submit a few lines at a time, to find the one that crashes the engine."""
        self._feeder.deduplicate = False
        lines = {line.number: line for line in self._pending_lines()}
        for number in sorted(lines.keys() & self._bisection.poison_lines()):
            reason = self._bisection.reason_of(number)
            self._feeder.reject_poison(self._reader.parse(lines.pop(number)), reason)
        for numbers in self._bisection.probe_groups(lines):
            if self._feeder.should_stop:
                return
            self._isolated_lines = numbers
            self._engine_proven = self._context.engine.steps > 0
            self._write_marker()
            for number in numbers:
                self._feeder.submit(self._reader.parse(lines[number]))
            self._feeder.drain()

    def _should_abandon(self) -> bool:
        self._feeder.observe_steps()
        return self._feeder.should_stop

    def _release_engine(self) -> None:
        self._feeder.abort()
        if self._holds_engine:
            self._holds_engine = False
            self._context.engine_gate.release(exclusive=self._bisection.needs_isolation)

    def _write_marker(self, in_flight: tuple[int, ...] = (), reason: str = "") -> None:
        """Record that this attempt has started; a crash leaves the marker behind."""
        marker = AttemptMarker(
            created_at=self._context.ledger.now(),
            isolated=self._isolated_lines,
            in_flight=in_flight,
            engine_proven=self._engine_proven,
            reason=reason,
        )
        self._context.storage.put(self._marker_key, records.encode(marker))

    @property
    def _marker_key(self) -> str:
        return self._context.keys.attempt_marker(self._shard.index, self.id)

    def _pending_lines(self) -> Iterator[RawLine]:
        return self._reader.pending_lines(done=self._writer.lines)
