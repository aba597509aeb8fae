"""Compares the cost of a batch, including its unfinished shards, with its limit.

Only the bucket says what a batch has used. The progress in Redis may be lost, old or
foreign, so it is displayed and decides nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.checkpoint_reader import CheckpointReader
from batchchat.jobs.ledger.cost_limit import cost_limit_reached
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Counts
from batchchat.jobs.ledger.state import State
from batchchat.jobs.lru_cache import LruCache

_READ_SECONDS = 5.0
"""Time between two looks at the checkpoints of a batch, each of which lists shards."""

MAX_BYTES = 64 * 1024 * 1024
"""Memory for what checkpoints contain; a batch for which none is left is read again."""

_BATCH_BYTES = 1_000
_SHARD_BYTES = 400


def reaches_cost_limit(
    state: State, progress: Mapping[int, tuple[Counts, Usage]], in_flight: int = 0
) -> bool:
    """Return whether a planned batch must not start more requests.

    `progress` holds the results of shards without a commit, by shard number;
    `in_flight` is the number of requests that engines have.
    """
    if state.batch.max_cost is None:
        return False
    price = state.require_plan().require_model().price
    state = replace(state, running=dict(progress))
    counts, usage = state.counts(), state.usage()
    return cost_limit_reached(state.batch, price, counts, usage, in_flight)


class _Checked:
    """A batch with a cost limit, and what its checkpoints contained at `read_at`."""

    def __init__(self, ledger: Ledger) -> None:
        self.reader = CheckpointReader(ledger, keep_text=False)
        self.running: dict[int, tuple[Counts, Usage]] = {}
        self.read_at = float("-inf")

    @property
    def weight(self) -> int:
        """The bytes of memory that it takes."""
        return _BATCH_BYTES + self.reader.weight + _SHARD_BYTES * len(self.running)


class CostChecks:
    """Checks the cost limits of batches again and again."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Start without a batch."""
        self._monotonic = monotonic
        self._checked = LruCache[str, _Checked](MAX_BYTES, lambda one: one.weight)

    def reaches_limit(self, ledger: Ledger, state: State) -> bool:
        """Return whether commits and checkpoints reach the limit of a planned batch.

        Raises `StorageError`.
        """
        if state.batch.max_cost is None:
            return False
        batch_id, now = state.batch.id, self._monotonic()
        checked = self._checked.get(batch_id) or _Checked(ledger)
        if now - checked.read_at >= _READ_SECONDS:
            checked.running = checked.reader.add_checkpoints(state).running
            checked.read_at = now
            self._checked.put(batch_id, checked)
        return reaches_cost_limit(state, checked.running)
