"""The shards that workers took from a queue, until a later read shows the result."""

from collections.abc import Collection, Iterator

from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.control.runnable_batch import RunnableBatch


class TakenShards:
    """The taken shards of one model.

    A shard that was taken after its batch was read may be committed by now, so it is
    not sent again before the batch has been read once more.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._noted_at: dict[str, float] = {}
        self._held: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the shards."""
        return iter(self._noted_at)

    def note(self, names: Collection[str], now: float) -> None:
        """Note shards whose messages have left the queue, unless that is known."""
        for name in names:
            self._noted_at.setdefault(name, now)

    def note_held(self, names: Collection[str], now: float) -> None:
        """Note shards that have a lease."""
        self._noted_at.update(dict.fromkeys(names, now))
        self._held.update(names)

    def settle(self, held: set[str], batches: list[RunnableBatch]) -> list[WorkMessage]:
        """Forget the shards that are done or lost; return those that lost their worker.

        `held` are the names of the shards that have a lease now.
        """
        by_id = {batch.state.batch.id: batch for batch in batches}
        lost = []
        for name, noted_at in list(self._noted_at.items()):
            message = WorkMessage.parse(name)
            batch = by_id.get(message.batch_id) if message else None
            if batch and (name in held or batch.read_at <= noted_at):
                continue
            del self._noted_at[name]
            was_held = name in self._held
            self._held.discard(name)
            if message and batch and was_held and batch.has_pending(message):
                lost.append(message)
        return lost
