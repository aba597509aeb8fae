"""Leases, queues and news within one process: what Redis is to a cluster."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from threading import Condition

from batchchat.workers.broker.messages import CONTROL, Hint
from batchchat.workers.broker.status_board import Running, WorkerNews


class LocalHints:
    """All three; they end with the process, as what they are about does."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._changed = Condition()
        self._leases: set[str] = set()
        self._queues: dict[str, dict[str, Hint]] = defaultdict(dict)
        self._stopped: dict[str, float] = {}
        self.told: dict[tuple[str, str], Running] = {}
        self.tokens_per_second = 0.0

    def take(self, name: str) -> bool:
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

    def begin(self) -> bool:
        """Say no: nothing is ever forgotten."""
        return False

    def send(self, queue: str, hint: Hint, *, first: bool = False) -> None:
        """Put a hint at the end of a queue, or before all others; see `Queue`."""
        with self._changed:
            others = self._queues[queue]
            mine = {hint.name: hint}
            self._queues[queue] = mine | others if first else others | mine
            self._changed.notify_all()

    def waiting(self, queue: str) -> set[str]:
        """Return the names of the hints that wait in a queue."""
        with self._changed:
            return set(self._queues[queue])

    def receive(self, queue: str, timeout: float) -> Hint | None:
        """Take the first hint of a queue, None where none came in `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._queues[queue], timeout)
            waiting = self._queues[queue]
            return waiting.pop(next(iter(waiting))) if waiting else None

    def model_queues(self) -> dict[str, Hint]:
        """Return the first hint of each model's queue that has any."""
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

    def tell(self, worker: WorkerNews, running: dict[tuple[str, str], Running]) -> None:
        """Take the news of the one worker; see `News`."""
        if worker.queue != CONTROL:
            self.told, self.tokens_per_second = running, worker.tokens_per_second

    def forget(self, _worker: str) -> None:
        """Have no news any more."""
        self.told, self.tokens_per_second = {}, 0.0

    def running(self, batch_id: str) -> dict[int, Running]:
        """Return what is open of a batch, by shard."""
        told = self.told
        return {int(shard): told[b, shard] for b, shard in told if b == batch_id}

    def workers(self) -> list[WorkerNews]:
        """Return none: there is one, which needs no long queue."""
        return []

    def stop(self, batch_id: str, grace: float) -> None:
        """Ask for the end of what is done for a batch; what waits is forgotten.

        Else its model would be loaded for nothing.
        """
        with self._changed:
            self._stopped[batch_id] = grace
            for queue, waiting in self._queues.items():
                if queue != CONTROL:
                    self._queues[queue] = {
                        name: hint
                        for name, hint in waiting.items()
                        if hint.batch_id != batch_id
                    }

    def stopped(self, batches: Iterable[str]) -> dict[str, float]:
        """Return those of the batches that are to be stopped, each with its grace."""
        return {b: self._stopped[b] for b in batches if b in self._stopped}
