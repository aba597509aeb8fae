"""What the commits of a batch come to: which shards have one, and their sums.

A commit never changes, so it is added once, when it is first seen, and forgotten.
This stays as small for a hundred thousand shards as for one, since they end nearly in
their order.
"""

from dataclasses import dataclass, field
from typing import Self

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.records import Commit, Counts


@dataclass(frozen=True)
class CommitIndex:
    """Every shard before `contiguous_until` has a commit, and those in `sparse`."""

    contiguous_until: int = 0
    sparse: frozenset[int] = frozenset()
    counts: Counts = field(default_factory=Counts)
    usage: Usage = field(default_factory=Usage)
    engine_seconds: float = 0.0
    last_commit_at: int = 0
    """When the last one was made, in Unix seconds."""

    def __contains__(self, shard: int) -> bool:
        """Say whether a shard has a commit."""
        return shard < self.contiguous_until or shard in self.sparse

    def __len__(self) -> int:
        """Return how many shards have one."""
        return self.contiguous_until + len(self.sparse)

    def is_subset_of(self, shards: set[int]) -> bool:
        """Say whether all that have a commit are among `shards`."""
        return self.sparse <= shards and shards.issuperset(range(self.contiguous_until))

    def with_commits(self, commits: list[Commit]) -> Self:
        """Return it with the commits of further shards."""
        contiguous_until, sparse = (
            self.contiguous_until,
            {*self.sparse, *(commit.shard for commit in commits)},
        )
        while contiguous_until in sparse:
            sparse.remove(contiguous_until)
            contiguous_until += 1
        return type(self)(
            contiguous_until,
            frozenset(sparse),
            sum((commit.counts for commit in commits), self.counts),
            sum((commit.usage for commit in commits), self.usage),
            sum((commit.engine_seconds for commit in commits), self.engine_seconds),
            max([self.last_commit_at, *(commit.created_at for commit in commits)]),
        )
