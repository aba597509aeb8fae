"""Runs the shards that messages name on one engine, several at a time."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.engine_arguments import describe_changes
from batchchat.jobs.engine.protocol import Engine
from batchchat.jobs.errors import (
    BrokerError,
    EngineError,
    NotFoundError,
    StorageAccessError,
    StorageError,
)
from batchchat.jobs.execution.attempt import Attempt
from batchchat.jobs.ledger.records import Plan, Shard
from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage import RetryingStorage
from batchchat.workers.broker.messages import WorkMessage, queue_name
from batchchat.workers.broker.throttled_log import ThrottledLog
from batchchat.workers.concurrently import map_concurrently
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.ledger_cache import LedgerCache
from batchchat.workers.shards.context_factory import ContextFactory
from batchchat.workers.shards.cost_monitor import CostMonitor
from batchchat.workers.shards.host_status import HostStatus
from batchchat.workers.shards.open_attempts import OpenAttempt, OpenAttempts
from batchchat.workers.shards.storage_guard import StorageGuard, sleep_unless

log = logging.getLogger(__name__)

_WITHDRAW_RETRY_SECONDS = 1.0
_ACCESS_RETRY_SECONDS = 5.0
_MAX_REPORTED_BATCHES = 1_000


class ShardHost:
    """Runs the shards of one model until it is drained or its engine dies."""

    def __init__(
        self, environment: WorkerEnvironment, model: Model, engine: Engine
    ) -> None:
        """Run shards of `model` on `engine`."""
        self.queue = queue_name(model)
        self.keeper = environment.lease_keeper()
        self.stop = ShutdownSignal()
        self.attempts = OpenAttempts()
        self.engine_error: EngineError | None = None
        """Why no more shards can run on the engine; None while it works."""

        self.on_room: Callable[[], object] = lambda: None
        """Is called when another shard may start."""

        self.engine = engine
        self._environment = environment
        self._model = model
        self._reported_batches: LruCache[str, bool] = LruCache(_MAX_REPORTED_BATCHES)
        # Finished results without a checkpoint would have to be generated again, so
        # they are kept for as long as the storage fails.
        storage = RetryingStorage(
            environment.storage,
            environment.storage_timeout,
            self.stop,
            ThrottledLog("storage").report,
        )
        self._ledgers = LedgerCache(storage, environment.clock)
        self._cost_monitor = CostMonitor()
        self._contexts = ContextFactory(engine, environment.settings)
        self.guard = StorageGuard(environment.storage, environment.monotonic)
        self._status = HostStatus(environment, model, engine, self.attempts, self.guard)
        self._active_messages = 0
        self._last_warning = ""
        self._lock = Lock()

    def has_room(self, active: int) -> bool:
        """Return whether a shard may start while `active` messages are being run."""
        may_start = not self._is_stopping and self.guard.problem is None
        return may_start and active <= self.attempts.fully_fed

    @property
    def is_busy(self) -> bool:
        """Whether a message is being run."""
        return self._active_messages > 0

    def run(self, message: WorkMessage) -> None:
        """Run a shard, unless another worker does. Raises no error."""
        attempt = OpenAttempt()
        try:
            with self._counted():
                if not self._is_stopping:
                    self._run(message, attempt)
                    self.guard.succeeded()
        except BrokerError as error:
            log.warning("deferred %s: %s", message.name, error)
        except StorageError as error:
            self._log_once("deferred %s: %s", message, error)
            self._environment.on_failure(error)
            if isinstance(error, StorageAccessError):
                self._wait_for_access(message, error)
            self._withdraw(attempt)
        except NotFoundError as error:
            log.warning("dropped %s: %s", message.name, error)
            self._environment.on_failure(error)
        except EngineError as error:
            log.error("deferred %s: %s", message.name, error)  # noqa: TRY400
            self.engine_error = error
        except Exception as error:
            log.exception("%s failed", message.name)
            self._environment.on_failure(error)

    def tick(self) -> None:
        """Publish the status, and stop the attempts that a stop request names."""
        attempts = self.attempts.items()
        board = self._environment.status_board
        try:
            requests = board.stop_requests({message.batch_id for message in attempts})
            for message, attempt in attempts.items():
                seconds = requests.get(message.batch_id)
                if seconds is not None and not (seconds and attempt.stop.requested):
                    attempt.stop.request(seconds)
            board.publish(*self._status.current())
        except BrokerError as error:
            log.debug("cannot publish the status: %s", error)

    def drain(self, seconds: float) -> None:
        """Start nothing more; running requests may finish within `seconds`."""
        self.stop.request(seconds)
        for attempt in self.attempts.items().values():
            attempt.stop.request(seconds)

    def close(self) -> None:
        """Stop to renew leases, and remove this worker from the status board."""
        self.keeper.stop()
        with suppress(BrokerError):
            self._environment.status_board.remove(self._status.worker_id)

    @property
    def _is_stopping(self) -> bool:
        return self.stop.requested or self.engine_error is not None

    def _run(self, message: WorkMessage, attempt: OpenAttempt) -> None:
        with self.keeper.hold(
            message.name, attempt.progress_counter, lambda: attempt.stop.request(0)
        ) as is_held:
            if not is_held:
                return
            pending = self._find_pending(message)
            board = self._environment.status_board
            if pending is None or board.stop_requests([message.batch_id]):
                return
            plan, shard = pending
            self._report_changes(message.batch_id, plan.require_model())
            ledger = self._ledgers.get(message.project)
            context = self._contexts.make(message.batch_id, ledger, plan, attempt)
            attempt.attempt = Attempt(context, shard)
            with (
                self._opened(message, attempt),
                self._cost_monitor.watching(ledger, message, attempt),
            ):
                attempt.attempt.feed()
                with self.attempts.waiting_for_answers():
                    self.on_room()
                    attempt.is_committed = attempt.attempt.finish()
            result = "committed" if attempt.is_committed else "handed back"
            log.info("%s is %s", message.name, result)

    def _find_pending(self, message: WorkMessage) -> tuple[Plan, Shard] | None:
        """Return the plan and the shard; None if the shard need not run."""
        if not message.is_shard:
            return None
        ledger, batch_id = self._ledgers.get(message.project), message.batch_id
        keys = ledger.keys.batch(batch_id)
        plan, is_committed, _ = _concurrently(
            lambda: ledger.current_plan(batch_id),
            lambda: ledger.is_committed(keys, message.shard),  # also once it has ended
            lambda: ledger.batch(batch_id),  # the attempt reads it from the cache
        )
        if plan is None or message.shard >= len(plan.shards) or is_committed:
            return None
        return plan, plan.shards[message.shard]

    def _report_changes(self, batch_id: str, planned: Model) -> None:
        """Report once for each batch how the engine differs from the planned one."""
        with self._lock:
            if self._reported_batches.get(batch_id):
                return
            self._reported_batches.put(batch_id, value=True)
        text = describe_changes(planned, self._model)
        if text is not None:
            log.warning("%s: %s", batch_id, text)
            self._environment.progress.notices.append(text)

    def _wait_for_access(self, message: WorkMessage, error: StorageAccessError) -> None:
        """Wait until this process may use the storage again; hand back all shards.

        Meanwhile this counts as a running shard. If only the batch is denied, pause.
        """
        with self._counted():
            if not self.guard.is_denied():
                pause = self.guard.denied_batch(message.batch_id, error)
                sleep_unless(lambda: self._is_stopping, pause)
            while self.guard.problem and not self._is_stopping:
                for open_attempt in self.attempts.items().values():
                    open_attempt.stop.request(0)
                sleep_unless(lambda: self._is_stopping, _ACCESS_RETRY_SECONDS)
                self.guard.is_denied()

    def _withdraw(self, attempt: OpenAttempt) -> None:
        """Remove the mark of an attempt that the storage stopped, not the engine.

        A mark that stays counts as a death of the engine. While the storage fails,
        this counts as a running shard, so that no other starts.
        """
        while attempt.attempt is not None:
            try:
                attempt.attempt.withdraw()
            except StorageError as error:
                if not error.retryable or self._is_stopping:
                    return
                time.sleep(_WITHDRAW_RETRY_SECONDS)
            else:
                return

    def _log_once(self, text: str, message: WorkMessage, error: StorageError) -> None:
        """Log a warning unless the last one was about the same error."""
        if error.message != self._last_warning:
            self._last_warning = error.message
            log.warning(text, message.name, error)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._active_messages += 1
        try:
            yield
        finally:
            with self._lock:
                self._active_messages -= 1

    @contextmanager
    def _opened(self, message: WorkMessage, attempt: OpenAttempt) -> Iterator[None]:
        with self.attempts.opened(message, attempt):
            if self.stop.requested:  # the drain may have missed this attempt
                attempt.stop.request(0)
            yield


def _concurrently(*reads: Callable[[], Any]) -> list[Any]:
    """Return the results of reads that wait for the storage at the same time."""
    return map_concurrently(lambda read: read(), reads, len(reads))
