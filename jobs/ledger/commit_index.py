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
    gpu_seconds: float = 0.0
    unassigned_seconds: float = 0.0
    """Engine time of commits of older versions, which have no `gpu_seconds`."""

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
        old = [commit for commit in commits if commit.gpu_seconds is None]
        created_at = (commit.created_at for commit in commits)
        return type(self)(
            contiguous_until=end,
            sparse=frozenset(sparse),
            counts=sum((it.counts for it in commits), self.counts),
            usage=sum((it.usage for it in commits), self.usage),
            engine_seconds=sum(
                (it.engine_seconds for it in commits), self.engine_seconds
            ),
            gpu_seconds=sum((it.gpu_seconds or 0 for it in commits), self.gpu_seconds),
            unassigned_seconds=sum(
                (it.engine_seconds for it in old), self.unassigned_seconds
            ),
            last_commit_at=max([self.last_commit_at, *created_at]),
            reused=sum((it.reused for it in commits), self.reused),
        )
