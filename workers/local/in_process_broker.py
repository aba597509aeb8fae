"""Queues, leases and the status board in one process, in place of Redis."""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from threading import Condition

from typing_extensions import override

from batchchat.workers.broker.leases import Leases
from batchchat.workers.broker.messages import CONTROL, Queue, WorkMessage
from batchchat.workers.broker.status_board import (
    STOP_REQUEST_SECONDS,
    ShardProgress,
    StatusBoard,
    WorkerStatus,
)

_Shards = dict[tuple[str, str], ShardProgress]


class InProcessBroker(Queue, Leases, StatusBoard):
    """All three services. They end with the process, as the work they describe does."""

    def __init__(self, *, resend_seconds: float = 5.0) -> None:
        """Pause for `resend_seconds` before failed work is sent again.

        A message counts as held from its receipt until its receiver calls `finish`, so
        no message that has left its queue is ever taken for lost.
        """
        self.resend_seconds = resend_seconds
        self.is_closed = False
        """Whether receivers should stop."""

        self._changed = Condition()
        self._leases: set[str] = set()
        self._received: set[str] = set()
        self._queues: dict[str, dict[str, WorkMessage]] = defaultdict(dict)
        self._stop_requests: dict[str, tuple[float, float]] = {}
        self._statuses: dict[str, tuple[WorkerStatus, _Shards]] = {}

    @property
    def shards(self) -> dict[tuple[str, str], ShardProgress]:
        """Progress of the open shards, by batch id and shard number as text."""
        with self._changed:
            found: _Shards = {}
            for _, shards in self._statuses.values():
                found |= shards
            return found

    @property
    def tokens_per_second(self) -> float:
        """Tokens that all engines generate per second."""
        with self._changed:
            return sum(it.tokens_per_second for it, _ in self._statuses.values())

    # --- queues -------------------------------------------------------------------

    @override
    def send(self, queue: str, message: WorkMessage, *, to_front: bool = False) -> None:
        with self._changed:
            others, own = self._queues[queue], {message.name: message}
            self._queues[queue] = own | others if to_front else others | own
            self._changed.notify_all()

    @override
    def waiting(self, queue: str) -> set[str]:
        with self._changed:
            return set(self._queues[queue])

    def receive(self, queue: str, timeout: float) -> WorkMessage | None:
        """Remove and return the first message of a queue; call `finish` afterwards.

        If the queue is empty, wait up to `timeout` seconds for any change; return None
        if the queue is still empty then, or the broker is closed.
        """
        with self._changed:
            if not self._queues[queue] and not self.is_closed:
                self._changed.wait(timeout)
            waiting = self._queues[queue]
            if not waiting or self.is_closed:
                return None
            message = waiting.pop(next(iter(waiting)))
            self._received.add(message.name)
            return message

    def finish(self, message: WorkMessage) -> None:
        """Note that the work of a received message has ended."""
        with self._changed:
            self._received.discard(message.name)
            self._changed.notify_all()

    def first_messages(
        self, timeout: float = 0.0, *, exclude: Collection[str] = ()
    ) -> dict[str, WorkMessage]:
        """Return the first message of each model's queue that is not empty.

        If there is none, wait up to `timeout` seconds for any change. Queues in
        `exclude` are left out.
        """
        with self._changed:
            if not (found := self._first_messages(exclude)) and not self.is_closed:
                self._changed.wait(timeout)
                found = self._first_messages(exclude)
            return found

    def _first_messages(self, exclude: Collection[str]) -> dict[str, WorkMessage]:
        return {
            queue: next(iter(waiting.values()))
            for queue, waiting in self._queues.items()
            if waiting and queue != CONTROL and queue not in exclude
        }

    def close(self) -> None:
        """Stop all receivers."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    # --- leases -------------------------------------------------------------------

    @override
    def acquire(self, name: str) -> bool:
        with self._changed:
            is_free = name not in self._leases
            self._leases.add(name)
            return is_free

    @override
    def renew(self, name: str) -> bool:
        return True

    @override
    def release(self, name: str) -> None:
        with self._changed:
            self._leases.discard(name)

    @override
    def held(self, names: Collection[str]) -> set[str]:
        with self._changed:
            return (self._leases | self._received) & set(names)

    @override
    def detect_flush(self) -> bool:
        return False

    # --- status board -------------------------------------------------------------

    @override
    def publish(
        self, worker: WorkerStatus, shards: dict[tuple[str, str], ShardProgress]
    ) -> None:
        if worker.queue != CONTROL:
            with self._changed:
                self._statuses[worker.id] = worker, shards

    @override
    def remove(self, worker_id: str) -> None:
        with self._changed:
            self._statuses.pop(worker_id, None)

    @override
    def workers(self) -> list[WorkerStatus]:
        """Return no worker: those on one machine do not need a longer queue."""
        return []

    @override
    def shard_progress(self, batch_id: str) -> dict[int, ShardProgress]:
        shards = self.shards
        return {int(shard): shards[b, shard] for b, shard in shards if b == batch_id}

    @override
    def request_stop(self, batch_id: str, drain_seconds: float) -> None:
        """Stop a batch's shards, and drop its messages: they need no model loaded."""
        with self._changed:
            until = time.monotonic() + STOP_REQUEST_SECONDS
            self._stop_requests[batch_id] = drain_seconds, until
            for queue, waiting in self._queues.items():
                if queue != CONTROL:
                    self._queues[queue] = {
                        name: message
                        for name, message in waiting.items()
                        if message.batch_id != batch_id
                    }

    @override
    def stop_requests(self, batch_ids: Iterable[str]) -> dict[str, float]:
        with self._changed:
            now = time.monotonic()
            requests = {
                batch_id: (seconds, until)
                for batch_id, (seconds, until) in self._stop_requests.items()
                if until > now
            }
            self._stop_requests = requests
            return {b: requests[b][0] for b in batch_ids if b in requests}
