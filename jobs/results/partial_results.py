"""The results of a running batch that are finished, in input order or not."""

from collections.abc import Iterator

from batchchat.jobs.ledger.checkpoint import FinishedLine
from batchchat.jobs.ledger.checkpoint_reader import CheckpointReader
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.results.finalize import read_results


class PartialResults:
    """Yields every finished result of a batch once, over several calls of `new`.

    Within a call the results are in input order. Error lines of requests that never
    ran are not included; they exist only in the error file of an ended batch.
    """

    def __init__(self, ledger: Ledger) -> None:
        """Read the batches of `ledger`; an object serves one batch."""
        self._ledger = ledger
        self._reader = CheckpointReader(ledger)
        self._complete: set[int] = set()
        self._seen: dict[int, set[int]] = {}

    def new(self, state: State) -> Iterator[FinishedLine]:
        """Yield the results that no earlier call has yielded."""
        if state.plan is None:
            return
        begun = set(self._reader.begun(state))
        for shard in state.plan.shards:
            index = shard.index
            is_committed = state.final is not None or index in state.commits
            if index in self._complete or not (is_committed or index in begun):
                continue
            results = self._results(state, index, is_committed=is_committed)
            seen = self._seen.pop(index, set())
            for line in sorted(results.keys() - seen):
                yield results[line]
            if is_committed:
                self._complete.add(index)
                self._reader.forget(state, index)
            else:
                self._seen[index] = seen | results.keys()

    def _results(
        self, state: State, shard: int, *, is_committed: bool
    ) -> dict[int, FinishedLine]:
        if is_committed:
            keys = self._ledger.keys.batch(state.batch.id)
            commit = self._ledger.commit(keys, shard)
            return read_results(self._ledger, commit) if commit else {}
        return {
            line: FinishedLine(line, result.completed, result.text)
            for line, result in self._reader.results(state, shard).items()
        }
