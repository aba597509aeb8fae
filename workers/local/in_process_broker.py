"""Leases, queues and status_board within one process: what Redis is to a cluster."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from threading import Condition

from batchchat.workers.broker.messages import CONTROL, WorkMessage
from batchchat.workers.broker.status_board import ShardProgress, WorkerStatus


class InProcessBroker:
    """All three; they end with the process, as what they are about does."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._changed = Condition()
        self._leases: set[str] = set()
        self._queues: dict[str, dict[str, WorkMessage]] = defaultdict(dict)
        self._stopped: dict[str, float] = {}
        self.told: dict[tuple[str, str], ShardProgress] = {}
        self.tokens_per_second = 0.0

    def acquire(self, name: str) -> bool:
        """Claim `name` unless somebody else has; see `Leases`."""
        with self._changed:
            is_free = name not in self._leases
            self._leases.add(name)
            return is_free

    def renew(self, _name: str) -> bool:
        """Say yes: nobody takes what is claimed."""
        return True

    def release(self, name: str) -> None:
        """Give `name` back."""
        with self._changed:
            self._leases.discard(name)

    def held(self, names: Collection[str]) -> set[str]:
        """Return those of `names` that anybody has."""
        with self._changed:
            return self._leases & set(names)

    def detect_flush(self) -> bool:
        """Say no: nothing is ever forgotten."""
        return False

    def send(self, queue: str, message: WorkMessage, *, to_front: bool = False) -> None:
        """Put a message at the end of a queue, or before all others; see `Queue`."""
        with self._changed:
            others = self._queues[queue]
            mine = {message.name: message}
            self._queues[queue] = mine | others if to_front else others | mine
            self._changed.notify_all()

    def waiting(self, queue: str) -> set[str]:
        """Return the names of the messages that wait in a queue."""
        with self._changed:
            return set(self._queues[queue])

    def receive(self, queue: str, timeout: float) -> WorkMessage | None:
        """Remove and return a queue's first message; None after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._queues[queue], timeout)
            waiting = self._queues[queue]
            return waiting.pop(next(iter(waiting))) if waiting else None

    def model_queues(self) -> dict[str, WorkMessage]:
        """Return the first message of each model's queue that has any."""
        with self._changed:
            return {
                name: next(iter(waiting.values()))
                for name, waiting in self._queues.items()
                if waiting and name != CONTROL
            }

    def wait(self, timeout: float) -> None:
        """Wait until something is sent, or for `timeout` seconds."""
        with self._changed:
            self._changed.wait(timeout)

    def publish(
        self, worker: WorkerStatus, running: dict[tuple[str, str], ShardProgress]
    ) -> None:
        """Take the status_board of the one worker; see `StatusBoard`."""
        if worker.queue != CONTROL:
            self.told, self.tokens_per_second = running, worker.tokens_per_second

    def remove(self, _worker: str) -> None:
        """Have no status_board any more."""
        self.told, self.tokens_per_second = {}, 0.0

    def shard_progress(self, batch_id: str) -> dict[int, ShardProgress]:
        """Return what is open of a batch, by shard."""
        told = self.told
        return {int(shard): told[b, shard] for b, shard in told if b == batch_id}

    def workers(self) -> list[WorkerStatus]:
        """Return none: there is one, which needs no long queue."""
        return []

    def request_stop(self, batch_id: str, grace: float) -> None:
        """Ask for the end of what is done for a batch; what waits is forgotten.

        Else its model would be loaded for nothing.
        """
        with self._changed:
            self._stopped[batch_id] = grace
            for queue, waiting in self._queues.items():
                if queue != CONTROL:
                    self._queues[queue] = {
                        name: message
                        for name, message in waiting.items()
                        if message.batch_id != batch_id
                    }

    def stop_requests(self, batches: Iterable[str]) -> dict[str, float]:
        """Return those of the batches that are to be stopped, each with its grace."""
        return {b: self._stopped[b] for b in batches if b in self._stopped}
