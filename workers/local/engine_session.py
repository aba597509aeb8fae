"""What the process that runs the batches does for the process of one engine."""

import time
from collections.abc import Callable, Collection, Iterable
from threading import Lock
from typing import NamedTuple

from batchchat.jobs.engine.protocol import EngineActivity
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.status_board import ShardProgress, WorkerStatus
from batchchat.workers.local.in_process_broker import InProcessBroker
from batchchat.workers.shards.open_attempts import WorkDone

NO_WORK = WorkDone()

_FULL_SECONDS = 0.1
"""Time that a process waits that has its share of the shards."""


class EngineReport(NamedTuple):
    """What an engine's process reports several times a second.

    `committed` are the results of finished shards, `results` also those of the others,
    and `work_done` all that was computed, whether or not it was kept.
    """

    model: str | None = None
    step: str = ""
    waiting_reason: str | None = None
    activity: EngineActivity | None = None
    tokens_per_second: float = 0.0
    committed: WorkDone = NO_WORK
    results: WorkDone = NO_WORK
    work_done: WorkDone = NO_WORK
    notices: tuple[str, ...] = ()


class Orders(NamedTuple):
    """What an engine's process is to do."""

    is_closing: bool
    drain_seconds: float


class EngineSession:
    """The services that one engine's process calls, from its start to its end.

    It notes what the process holds, so that `end` can release that when it has died.
    """

    def __init__(
        self,
        broker: InProcessBroker,
        *,
        on_failure: Callable[[BaseException], object],
        on_unusable: Callable[[BaseException], object],
        on_loaded: Callable[[WorkMessage], object],
        on_low_queue: Callable[[], object],
        on_notice: Callable[[str], object],
        max_shards: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Take messages and leases from `broker`.

        The process gets at most `max_shards` shards at a time, so that those that are
        left last for all engines; None if there is no limit.

        `on_failure` gets the errors of shards, and `on_unusable` those that keep the
        engine from being used.
        """
        self._broker = broker
        self.on_failure = on_failure
        self.on_unusable = on_unusable
        self.on_loaded = on_loaded
        self.on_low_queue = on_low_queue
        self._on_notice = on_notice
        self._max_shards = max_shards
        self._received: dict[str, WorkMessage] = {}
        self._leases: set[str] = set()
        self._workers: set[str] = set()
        self._has_ended = False
        self._report = EngineReport()
        self._orders = Orders(is_closing=False, drain_seconds=0.0)
        self._lock = Lock()

    # --- for the process that runs the batches ------------------------------------

    @property
    def current(self) -> EngineReport:
        """The last report of the process."""
        return self._report

    def close(self, drain_seconds: float) -> None:
        """Have the process end; running requests may finish within that time."""
        self._orders = Orders(is_closing=True, drain_seconds=drain_seconds)

    def end(self) -> None:
        """Release what the process held, which has ended.

        A call of the process may still be running here; it gets nothing any more.
        """
        with self._lock:
            self._has_ended = True
            received, leases = list(self._received.values()), list(self._leases)
            workers = list(self._workers)
        for name in leases:
            self._broker.release(name)
        for message in received:
            self._broker.finish(message)
        for worker_id in workers:
            self._broker.remove(worker_id)

    # --- for the engine's process -------------------------------------------------

    def report(self, report: EngineReport) -> Orders:
        """Take a report; return what to do."""
        self._report = report
        for text in report.notices:
            self._on_notice(text)
        return self._orders

    def fail(self, error: BaseException) -> None:
        """Take an error of a shard."""
        self.on_failure(error)

    def give_up(self, error: BaseException) -> None:
        """Take the error that keeps the engine from being used."""
        self.on_unusable(error)

    def loaded(self, message: WorkMessage) -> None:
        """Note that the engine was loaded for a message."""
        self.on_loaded(message)

    def low_queue(self) -> None:
        """Note that the queue is nearly empty."""
        self.on_low_queue()

    def first_messages(
        self, timeout: float, exclude: Collection[str]
    ) -> dict[str, WorkMessage]:
        """See `InProcessBroker`."""
        return self._broker.first_messages(timeout, exclude=exclude)

    def receive(self, queue: str, timeout: float) -> WorkMessage | None:
        """See `InProcessBroker`."""
        most = self._max_shards()
        if most is not None and len(self._received) >= most:
            time.sleep(min(timeout, _FULL_SECONDS))
            return None
        message = self._broker.receive(queue, timeout)
        if message is None:
            return None
        with self._lock:
            if not self._has_ended:
                self._received[message.name] = message
                return message
        self._broker.finish(message)  # the dispatcher sends it again
        return None

    def finish(self, message: WorkMessage) -> None:
        """See `InProcessBroker`."""
        with self._lock:
            is_held = self._received.pop(message.name, None) and not self._has_ended
        if is_held:
            self._broker.finish(message)

    def waiting(self, queue: str) -> set[str]:
        """See `Queue`."""
        return self._broker.waiting(queue)

    def acquire(self, name: str) -> bool:
        """See `Leases`."""
        with self._lock:
            is_ours = not self._has_ended and self._broker.acquire(name)
            if is_ours:
                self._leases.add(name)
            return is_ours

    def release(self, name: str) -> None:
        """See `Leases`."""
        with self._lock:
            if not self._has_ended and name in self._leases:
                self._leases.discard(name)
                self._broker.release(name)

    def held(self, names: Collection[str]) -> set[str]:
        """See `Leases`."""
        return self._broker.held(names)

    def publish(
        self, worker: WorkerStatus, shards: dict[tuple[str, str], ShardProgress]
    ) -> None:
        """See `StatusBoard`."""
        with self._lock:
            if not self._has_ended:
                self._workers.add(worker.id)
                self._broker.publish(worker, shards)

    def remove(self, worker_id: str) -> None:
        """See `StatusBoard`."""
        with self._lock:
            self._workers.discard(worker_id)
        self._broker.remove(worker_id)

    def stop_requests(self, batch_ids: Iterable[str]) -> dict[str, float]:
        """See `StatusBoard`."""
        return self._broker.stop_requests(batch_ids)
