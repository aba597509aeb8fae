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
class Committed:
    """Every shard before `upto` has a commit, and those in `later`."""

    upto: int = 0
    later: frozenset[int] = frozenset()
    counts: Counts = field(default_factory=Counts)
    usage: Usage = field(default_factory=Usage)
    engine_seconds: float = 0.0
    last_at: int = 0
    """When the last one was made, in Unix seconds."""

    def __contains__(self, shard: int) -> bool:
        """Say whether a shard has a commit."""
        return shard < self.upto or shard in self.later

    def __len__(self) -> int:
        """Return how many shards have one."""
        return self.upto + len(self.later)

    def is_within(self, shards: set[int]) -> bool:
        """Say whether all that have a commit are among `shards`."""
        return self.later <= shards and shards.issuperset(range(self.upto))

    def plus(self, commits: list[Commit]) -> Self:
        """Return it with the commits of further shards."""
        upto, later = self.upto, {*self.later, *(commit.shard for commit in commits)}
        while upto in later:
            later.remove(upto)
            upto += 1
        return type(self)(
            upto,
            frozenset(later),
            sum((commit.counts for commit in commits), self.counts),
            sum((commit.usage for commit in commits), self.usage),
            sum((commit.engine_seconds for commit in commits), self.engine_seconds),
            max([self.last_at, *(commit.created_at for commit in commits)]),
        )
