"""Fills the queue of a model with the shards that should run next."""

from collections import Counter, defaultdict
from collections.abc import Callable

from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.control.lease_view import LeaseView
from batchchat.workers.control.outbox import Outbox
from batchchat.workers.control.runnable_batch import RunnableBatch
from batchchat.workers.control.taken_shards import TakenShards

_MIN_QUEUE_LENGTH = 8
_QUEUE_LENGTH_PER_WORKER = 4
"""Number of messages in a model's queue: a minimum, and a number for each worker.

If workers take more than that between two sweeps, because shards are small, the queue
gets twice as many as they took. So it grows until workers never wait, and holds only
seconds of work."""

_LOOKUP_SIZE = 64
"""Shards whose leases are read with one call."""


class QueueFiller:
    """Chooses which shards to send, for all models."""

    def __init__(
        self, leases: LeaseView, outbox: Outbox, monotonic: Callable[[], float]
    ) -> None:
        """Send through `outbox` the shards that are free according to `leases`."""
        self._leases = leases
        self._outbox = outbox
        self._monotonic = monotonic
        self._filled: dict[str, set[str]] = {}
        self._taken: dict[str, TakenShards] = defaultdict(TakenShards)

    def fill(self, queue: str, batches: list[RunnableBatch], workers: int) -> None:
        """Fill the queue of a model that has `workers` workers.

        The project with the fewest running shards for its share goes first; among its
        batches, those of the highest priority, and among these the oldest.
        """
        taken, sent = self._taken[queue], self._outbox.sent(queue)
        self._note_taken(queue)
        held = self._leases.held({*taken, *sent})
        taken.note_held(held, self._monotonic())
        self._resend_lost(queue, taken.settle(held, batches))
        self._drop_arrived(queue, held, batches)
        self._send(queue, batches, workers)

    def top_up(self, queue: str, batches: list[RunnableBatch], workers: int) -> None:
        """Fill the queue from batches that were read some time ago."""
        self._note_taken(queue)
        self._send(queue, batches, workers)

    def retain(self, queues: set[str]) -> None:
        """Forget all queues but these."""
        self._filled = {queue: self._filled[queue] for queue in queues}
        for queue in self._taken.keys() - queues:
            del self._taken[queue]

    def taken(self) -> set[str]:
        """Return the names of the shards that workers have or had since they were read.

        These may be committed by now.
        """
        names = {name for taken in self._taken.values() for name in taken}
        for queue, queued in self._filled.items():
            names |= queued - self._outbox.waiting(queue)
        return names

    def _send(self, queue: str, batches: list[RunnableBatch], workers: int) -> None:
        """Send free shards, in turn, until the queue has its target length."""
        queued = self._outbox.waiting(queue)
        unavailable = {*queued, *self._outbox.sent(queue), *self._taken[queue]}
        taken = len(self._filled.get(queue, set()) - queued)
        target = max(_MIN_QUEUE_LENGTH, _QUEUE_LENGTH_PER_WORKER * workers, 2 * taken)
        space = target - len(queued)
        parsed = (WorkMessage.parse(name) for name in queued)
        running = Counter(message.project for message in parsed if message)
        for batch in batches:
            running[batch.project] += self._find_free(queue, batch, unavailable, space)
        while space > 0 and (batches := [batch for batch in batches if batch.free]):
            batch = _next(batches, running)
            message = batch.free.pop(0)
            self._outbox.send(queue, message)
            queued.add(message.name)
            running[batch.project] += 1
            space -= 1
        self._filled[queue] = queued

    def _note_taken(self, queue: str) -> None:
        """Note the shards whose messages have left the queue since it was filled."""
        left = self._filled.get(queue, set()) - self._outbox.waiting(queue)
        self._taken[queue].note(left, self._monotonic())

    def _resend_lost(self, queue: str, lost: list[WorkMessage]) -> None:
        """Send shards that lost their worker first: most of their work may be done."""
        outstanding = self._outbox.outstanding(queue) if lost else set()
        for message in sorted(lost, reverse=True):
            if message.name not in outstanding:
                self._outbox.send(queue, message, to_front=True)

    def _drop_arrived(
        self, queue: str, held: set[str], batches: list[RunnableBatch]
    ) -> None:
        """Stop counting messages as in transit that have a lease or are done."""
        by_id = {batch.state.batch.id: batch for batch in batches}
        for name in self._outbox.sent(queue):
            message = WorkMessage.parse(name)
            batch = by_id.get(message.batch_id) if message else None
            is_pending = message and batch and batch.has_pending(message)
            if name in held or not is_pending:
                self._outbox.mark_arrived(queue, name)

    def _find_free(
        self, queue: str, batch: RunnableBatch, unavailable: set[str], limit: int
    ) -> int:
        """Find up to `limit` free shards; return the number of leased ones passed."""
        leased = 0
        batch.free.clear()
        for start in range(0, len(batch.pending), _LOOKUP_SIZE):
            shards = batch.pending[start : start + _LOOKUP_SIZE]
            some = [batch.message(shard) for shard in shards]
            held = self._leases.held([message.name for message in some])
            self._taken[queue].note_held(held, self._monotonic())
            leased += len(held)
            taken = held | unavailable
            batch.free += [m for m in some if m.name not in taken]
            if len(batch.free) >= limit:
                break
        return leased


def _next(batches: list[RunnableBatch], running: Counter[str]) -> RunnableBatch:
    """Return the batch whose shard should run next."""
    if not all(batch.is_denied for batch in batches):
        batches = [batch for batch in batches if not batch.is_denied]
    project = min(
        batches, key=lambda b: (running[b.project] / b.rules.share, b.state.batch.id)
    ).project
    own = (batch for batch in batches if batch.project == project)
    return min(own, key=lambda b: (b.rank, b.state.batch.id))
