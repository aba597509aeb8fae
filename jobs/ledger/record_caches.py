"""The decoded records that a process keeps in memory, within a number of bytes.

Records differ in size by a factor of a thousand, so their number bounds nothing. A
cache weighs each record by its JSON and by how much more memory its objects take.
"""

from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.commit_index import CommitIndex
from batchchat.jobs.ledger.keys import BatchKeys
from batchchat.jobs.ledger.records import Batch, Commit, Plan
from batchchat.jobs.lru_cache import LruCache

_ENTRY_BYTES = 500
"""The key of an entry, and what the cache itself needs for it."""

_GROWTH = 2
"""How much more memory objects take than their JSON; those of shards take more."""

_SHARD_BYTES = 200
_SPARSE_SHARD_BYTES = 100
_MIB = 1024 * 1024


class RecordCaches:
    """The caches of all projects of a process; keys are those of the storage.

    Together they take up to `MAX_BYTES`.
    """

    MAX_BYTES = 160 * _MIB

    def __init__(self, shared: "RecordCaches | None" = None) -> None:
        """Start empty; what never changes is cached in `shared`, if it is given."""
        self.batches: LruCache[str, Batch]
        self.plans: LruCache[str, Plan]
        self.commits: LruCache[str, Commit]
        if shared is None:
            self.batches = LruCache(16 * _MIB, _weight)
            self.plans = LruCache(96 * _MIB, plan_weight)
            self.commits = LruCache(16 * _MIB, _weight)
        else:
            self.batches, self.plans = shared.batches, shared.plans
            self.commits = shared.commits
        self.committed = LruCache[str, CommitIndex](16 * _MIB, _index_weight)
        self.listed = LruCache[str, bool](16 * _MIB, lambda _: _ENTRY_BYTES)

    def forget(self, keys: BatchKeys) -> None:
        """Drop the records of a batch."""
        self.batches.remove(keys.batch)
        self.plans.remove(keys.plan)
        self.committed.remove(keys.top)
        self.listed.remove(keys.top)


def _weight(record: records.HasFormat) -> int:
    return _ENTRY_BYTES + _GROWTH * len(records.encode(record))


def plan_weight(plan: Plan) -> int:
    """Return the bytes of memory that a plan takes, at most."""
    return _weight(plan) + _SHARD_BYTES * len(plan.shards)


def _index_weight(index: CommitIndex) -> int:
    return 2 * _ENTRY_BYTES + _SPARSE_SHARD_BYTES * len(index.sparse)
