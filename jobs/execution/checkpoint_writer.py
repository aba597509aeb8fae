"""What an attempt has of its shard: results with a checkpoint, and those without.

::

    begin ─► what earlier attempts have left
    add, add_turn ─► held here ─── flush, every few seconds ───► checkpoints
                                                                     │
    commit ◄────────────── every line has one ◄──────────────────────┘

What is held when the process dies is generated again, and nothing else is.
"""

import time
from collections.abc import Sequence

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.engine.protocol import Completion
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.ledger import records as record
from batchchat.jobs.ledger.checkpoint import Result, pack
from batchchat.jobs.ledger.partial_turns import KeptTurn, pack_turns, read_turns
from batchchat.jobs.ledger.records import Part
from batchchat.jobs.ledger.recovery import Kept, recover

_MAX_BUFFERED_BYTES = 4 * 1024 * 1024


class CheckpointWriter:
    """The results of one attempt at one shard; for one thread."""

    def __init__(self, task: BatchContext, shard: int, attempt: str) -> None:
        """Begin with nothing."""
        self._task = task
        self._shard = shard
        self._attempt = attempt
        self._kept = Kept()
        self._kept_turns: dict[int, list[Completion]] = {}
        self._fresh: list[Result] = []
        self._fresh_turns: list[KeptTurn] = []
        self._fresh_bytes = 0
        self._fresh_since = 0.0
        self._written = 0
        self.checkpoints = 0
        """How many this attempt has written."""

    @property
    def lines(self) -> set[int]:
        """The lines whose results have a checkpoint."""
        return self._kept.lines

    def begin(self) -> None:
        """Take what earlier attempts have left. Raises `StorageError`."""
        task = self._task
        self._kept = recover(task.storage, task.keys, self._shard)
        self._kept_turns = read_turns(task.storage, task.keys, self._shard)
        task.progress.add_recovered(self._kept.counts, self._kept.usage)

    def turns_of(self, line: int) -> Sequence[Completion]:
        """Hand out the answers to the first turns of a request without a result."""
        return self._kept_turns.pop(line, ())

    def add(self, result: Result) -> None:
        """Hold a result until the next checkpoint."""
        self._note_fresh()
        self._fresh.append(result)
        self._fresh_bytes += len(result.text)
        self._task.progress.add([result])

    def add_failure(self, line: int, text: bytes) -> None:
        """Hold the error line of a request that gets no answer."""
        self.add(
            Result(line, completed=False, usage=Usage(), engine_seconds=0.0, text=text)
        )

    def add_turn(self, line: int, number: int, answer: Completion) -> None:
        """Hold the answer to a turn of a request that has more of them."""
        self._note_fresh()
        self._fresh_turns.append(KeptTurn(line, number, answer))

    def flush_if_due(self) -> None:
        """Write a checkpoint where something was held for long, or is much."""
        if not (self._fresh or self._fresh_turns):
            return
        age = time.monotonic() - self._fresh_since
        if (
            age >= self._task.checkpoint_seconds
            or self._fresh_bytes >= _MAX_BUFFERED_BYTES
        ):
            self.flush()

    def flush(self) -> None:
        """Write what no checkpoint has yet. Raises `StorageError`."""
        self._flush_turns()
        if not self._fresh:
            return
        task, engine = self._task, self._task.engine
        engines = {engine.fingerprint: engine.identity}
        packed = pack(self._fresh, engines)
        key = task.keys.checkpoint(self._shard, self._attempt, self._written)
        task.storage.put(key, packed.data)
        part = Part(key, len(packed.data), packed.sha256)
        self._kept.add(part, self._fresh, engines)
        self._written += 1
        self._fresh = []
        self._fresh_bytes = 0
        self.checkpoints += 1

    def commit(self) -> None:
        """Make the results final, unless another attempt was first."""
        task = self._task
        commit = self._kept.commit(self._shard, self._attempt, task.ledger.now())
        task.storage.create(task.keys.commit(self._shard), record.encode(commit))

    def _note_fresh(self) -> None:
        if not (self._fresh or self._fresh_turns):
            self._fresh_since = time.monotonic()

    def _flush_turns(self) -> None:
        """Keep the turns whose requests have no result yet."""
        if not self._fresh_turns:
            return
        done = self._kept.lines | {result.line for result in self._fresh}
        kept = [turn for turn in self._fresh_turns if turn.line not in done]
        self._fresh_turns = []
        if kept:
            keys = self._task.keys
            key = keys.kept_turns(self._shard, self._attempt, self._written)
            self._task.storage.put(key, pack_turns(kept))
            self._written += 1
