"""Fills the queue of a model with the shards that should run next."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from batchchat.jobs.ledger.state import State
from batchchat.jobs.project_rules import ProjectRules
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.control.lease_view import LeaseView
from batchchat.workers.control.outbox import Outbox

_MIN_QUEUE_LENGTH = 8
_QUEUE_LENGTH_PER_WORKER = 4
"""Number of messages in a model's queue: a minimum, and a number for each worker.

If workers take more than that between two sweeps, because shards are small, the queue
gets twice as many as they took. So it grows until workers never wait, and holds only
seconds of work."""

_LOOKUP_SIZE = 64
"""Shards whose leases are read with one call."""

_Pending = dict[str, set[int]]
"""The shards without a commit, by batch."""


@dataclass
class RunnableBatch:
    """A batch with shards to run; `free` lists some that no worker has."""

    project: str
    state: State
    rules: ProjectRules = field(default_factory=ProjectRules)
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


class QueueFiller:
    """Chooses which shards to send, for all models."""

    def __init__(self, leases: LeaseView, outbox: Outbox) -> None:
        """Send through `outbox` the shards that are free according to `leases`."""
        self._leases = leases
        self._outbox = outbox
        self._filled: dict[str, set[str]] = {}

    def fill(self, queue: str, batches: list[RunnableBatch], workers: int) -> None:
        """Fill the queue of a model that has `workers` workers.

        The project with the fewest running shards for its share goes first; among its
        batches, those of the highest priority, and among these the oldest.
        """
        pending = {batch.state.batch.id: {*batch.pending} for batch in batches}
        self._resend_lost(queue, pending)
        self._drop_arrived(queue, pending)
        queued = self._outbox.outstanding(queue)
        taken = len(self._filled.get(queue, set()) - queued)
        target = max(_MIN_QUEUE_LENGTH, _QUEUE_LENGTH_PER_WORKER * workers, 2 * taken)
        space = target - len(queued)
        parsed = (WorkMessage.parse(name) for name in queued)
        running = Counter(message.project for message in parsed if message)
        for batch in batches:
            running[batch.project] += self._find_free(batch, queued, space)
        while space > 0 and (batches := [batch for batch in batches if batch.free]):
            batch = _next(batches, running)
            message = batch.free.pop(0)
            self._outbox.send(queue, message)
            queued.add(message.name)
            running[batch.project] += 1
            space -= 1
        self._filled[queue] = queued

    def retain(self, queues: set[str]) -> None:
        """Forget all queues but these."""
        self._filled = {queue: self._filled[queue] for queue in queues}

    def _resend_lost(self, queue: str, pending: _Pending) -> None:
        """Send shards that lost their worker first: most of their work may be done."""
        before = self._leases.held_before
        lost = {name: m for name in before if (m := _parse_pending(name, pending))}
        unavailable = self._leases.held(list(lost)) | self._outbox.outstanding(queue)
        for name in sorted(lost.keys() - unavailable, reverse=True):
            self._outbox.send(queue, lost[name], to_front=True)

    def _drop_arrived(self, queue: str, pending: _Pending) -> None:
        """Stop counting messages as in transit that have a lease or are done."""
        sent = self._outbox.sent(queue)
        held = self._leases.held(sent)
        for name in sent:
            if name in held or _parse_pending(name, pending) is None:
                self._outbox.mark_arrived(queue, name)

    def _find_free(self, batch: RunnableBatch, queued: set[str], limit: int) -> int:
        """Find up to `limit` free shards; return the number of leased ones passed."""
        leased = 0
        for start in range(0, len(batch.pending), _LOOKUP_SIZE):
            shards = batch.pending[start : start + _LOOKUP_SIZE]
            some = [batch.message(shard) for shard in shards]
            held = self._leases.held([message.name for message in some])
            leased += len(held)
            unavailable = held | queued
            batch.free += [m for m in some if m.name not in unavailable]
            if len(batch.free) >= limit:
                break
        return leased


def _next(batches: list[RunnableBatch], running: Counter[str]) -> RunnableBatch:
    """Return the batch whose shard should run next."""
    project = min(
        batches, key=lambda b: (running[b.project] / b.rules.share, b.state.batch.id)
    ).project
    own = (batch for batch in batches if batch.project == project)
    return min(own, key=lambda b: (b.rank, b.state.batch.id))


def _parse_pending(name: str, pending: _Pending) -> WorkMessage | None:
    """Return the message with this name; None unless its shard is pending."""
    message = WorkMessage.parse(name)
    if message is None or not message.is_shard:
        return None
    is_pending = message.shard in pending.get(message.batch_id, ())
    return message if is_pending else None
