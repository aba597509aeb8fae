"""The sum of a batch's commits: which shards have one, and their totals.

A commit never changes, so it is added once, when it is first read. The index stays
small even for 100,000 shards, because they finish almost in order.
"""

from dataclasses import dataclass, field
from typing import Self

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.records import Commit, Counts


@dataclass(frozen=True)
class CommitIndex:
    """All shards before `contiguous_until` have a commit, and those in `sparse`."""

    contiguous_until: int = 0
    sparse: frozenset[int] = frozenset()
    counts: Counts = field(default_factory=Counts)
    usage: Usage = field(default_factory=Usage)
    engine_seconds: float = 0.0
    last_commit_at: int = 0
    """When the latest commit was made, in Unix seconds."""

    reused: int = 0

    def __contains__(self, shard: int) -> bool:
        """Return whether a shard has a commit."""
        return shard < self.contiguous_until or shard in self.sparse

    def __len__(self) -> int:
        """Return the number of shards with a commit."""
        return self.contiguous_until + len(self.sparse)

    def is_subset_of(self, shards: set[int]) -> bool:
        """Return whether all shards with a commit are in `shards`."""
        return self.sparse <= shards and shards.issuperset(range(self.contiguous_until))

    def with_commits(self, commits: list[Commit]) -> Self:
        """Return the index with the commits of more shards added."""
        end = self.contiguous_until
        sparse = {*self.sparse, *(commit.shard for commit in commits)}
        while end in sparse:
            sparse.remove(end)
            end += 1
        return type(self)(
            end,
            frozenset(sparse),
            sum((commit.counts for commit in commits), self.counts),
            sum((commit.usage for commit in commits), self.usage),
            sum((commit.engine_seconds for commit in commits), self.engine_seconds),
            max([self.last_commit_at, *(commit.created_at for commit in commits)]),
            sum((commit.reused for commit in commits), self.reused),
        )
