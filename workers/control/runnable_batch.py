"""A planned batch, as the dispatcher sees it."""

from dataclasses import dataclass, field
from functools import cached_property

from batchchat.jobs.ledger.state import State
from batchchat.jobs.project_rules import ProjectRules
from batchchat.workers.broker.messages import WorkMessage


@dataclass
class RunnableBatch:
    """A batch with shards to run, as it was read at `read_at` by the monotonic clock.

    `free` lists some shards that no worker has. If a worker was denied to read the
    batch, `is_denied` is true, and all other batches are run first.
    """

    project: str
    state: State
    rules: ProjectRules = field(default_factory=ProjectRules)
    read_at: float = 0.0
    is_denied: bool = False
    free: list[WorkMessage] = field(default_factory=list)

    @cached_property
    def pending(self) -> list[int]:
        """The shards without a commit."""
        return self.state.pending()

    @property
    def rank(self) -> int:
        """Its rank by priority in its project; the lowest is run first."""
        return self.rules.rank(self.state.batch.priority)

    def message(self, shard: int) -> WorkMessage:
        """Return the message to run a shard."""
        return WorkMessage.for_shard(self.project, self.state.batch.id, shard)

    def has_pending(self, message: WorkMessage) -> bool:
        """Return whether the message names a shard of this batch without a commit."""
        return message.is_shard and message.shard in self._pending_shards

    @cached_property
    def _pending_shards(self) -> frozenset[int]:
        return frozenset(self.pending)
