"""The messages that a dispatcher has sent and no worker has started yet."""

from collections.abc import Callable

from batchchat.workers.broker.messages import Queue, WorkMessage


class Outbox:
    """Sends messages, and remembers those in transit from a queue to their lease."""

    def __init__(self, queue: Queue, monotonic: Callable[[], float]) -> None:
        """Send through `queue`."""
        self._queue = queue
        self._monotonic = monotonic
        self._sent_at: dict[tuple[str, str], float] = {}

    def send(self, queue: str, message: WorkMessage, *, to_front: bool = False) -> None:
        """Send a message."""
        self._queue.send(queue, message, to_front=to_front)
        self._sent_at[queue, message.name] = self._monotonic()

    def expire(self) -> None:
        """Forget the messages that can no longer be in transit."""
        oldest = self._monotonic() - self._queue.resend_seconds
        self._sent_at = {sent: at for sent, at in self._sent_at.items() if at > oldest}

    def sent(self, queue: str) -> list[str]:
        """Return the names of recently sent messages that may be in transit."""
        return [name for to, name in self._sent_at if to == queue]

    def is_in_transit(self, queue: str, name: str) -> bool:
        """Return whether a message was sent recently and has not arrived."""
        return (queue, name) in self._sent_at

    def mark_arrived(self, queue: str, name: str) -> None:
        """Forget a message whose work has a lease, or is done."""
        del self._sent_at[queue, name]

    def waiting(self, queue: str) -> set[str]:
        """Return the names of the messages that are queued."""
        return self._queue.waiting(queue)

    def outstanding(self, queue: str) -> set[str]:
        """Return the names of the messages that are queued or in transit."""
        return {*self.sent(queue), *self.waiting(queue)}
