"""Reads the checkpointed results of shards that are not committed yet."""

from dataclasses import replace

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import CorruptObjectError, ObjectMissingError
from batchchat.jobs.ledger.checkpoint import Result, tally, unpack
from batchchat.jobs.ledger.keys import BatchKeys
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Counts
from batchchat.jobs.ledger.state import State

_CHECKPOINT_BYTES = 500
_RESULT_BYTES = 400
"""The memory that a checkpoint and each of its results take, at most."""


class CheckpointReader:
    """Caches the checkpoints that it has read, for callers that poll a batch.

    The next attempt at a shard keeps all checkpointed results, so what is read here is
    what is committed later. There is one exception: if two workers of a cluster run a
    shard at the same time, the commit has the results of one of them.
    """

    def __init__(self, ledger: Ledger, *, keep_text: bool = True) -> None:
        """Read the batches of `ledger`; the results are empty unless `keep_text`."""
        self._ledger = ledger
        self._keep_text = keep_text
        self._checkpoints: dict[str, list[Result]] = {}

    def add_checkpoints(self, state: State) -> State:
        """Return the state with the checkpointed results counted as finished."""
        if state.is_terminal or state.plan is None:
            return state
        begun = self.begun(state)
        running = {shard: _totals(self.results(state, shard)) for shard in begun}
        self._keep_only(tuple(self._keys(state).shard(shard) for shard in begun))
        return replace(state, running={**running, **state.running})

    @property
    def weight(self) -> int:
        """The bytes of memory that the cached checkpoints take, without their texts."""
        results = sum(map(len, self._checkpoints.values()))
        return _CHECKPOINT_BYTES * len(self._checkpoints) + _RESULT_BYTES * results

    def begun(self, state: State) -> list[int]:
        """Return the shards without a commit that have been attempted, in order."""
        pending = state.pending()
        if not pending:
            return []
        shards = self._keys(state).shards
        found = {*self._ledger.storage.folders(shards)}
        return [shard for shard in pending if f"{shard:05d}" in found]

    def results(self, state: State, shard: int) -> dict[int, Result]:
        """Return the results by line; of two for one line the earlier one counts."""
        keys, storage = self._keys(state), self._ledger.storage
        skipped = keys.attempt_markers(shard), keys.turns(shard)
        by_line: dict[int, Result] = {}
        for entry in storage.list(keys.shard(shard)):
            if not entry.key.startswith(skipped):
                for result in self._read(entry.key):
                    by_line.setdefault(result.line, result)
        return by_line

    def forget(self, state: State, shard: int) -> None:
        """Drop the cached checkpoints of a shard, because it is committed."""
        mine = self._keys(state).shard(shard)
        self._checkpoints = {
            key: results
            for key, results in self._checkpoints.items()
            if not key.startswith(mine)
        }

    def _keep_only(self, prefixes: tuple[str, ...]) -> None:
        self._checkpoints = {
            key: results
            for key, results in self._checkpoints.items()
            if key.startswith(prefixes)
        }

    def _keys(self, state: State) -> BatchKeys:
        return self._ledger.keys.batch(state.batch.id)

    def _read(self, key: str) -> list[Result]:
        """Return the results of a checkpoint; none if it is torn or deleted."""
        known = self._checkpoints.get(key)
        if known is not None:
            return known
        try:
            read = unpack(self._ledger.storage.get(key), key)
        except (CorruptObjectError, ObjectMissingError):
            read = []
        if not self._keep_text:
            read = [result._replace(text=b"") for result in read]
        self._checkpoints[key] = read
        return read


def _totals(results: dict[int, Result]) -> tuple[Counts, Usage]:
    counts, usage, _ = tally(results.values())
    return counts, usage
