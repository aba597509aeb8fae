"""The controller: plans batches, has their shards run, and ends them."""

import logging
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from uuid import uuid4

import msgspec

from batchchat.jobs.errors import (
    BatchchatError,
    BrokerError,
    StorageAccessError,
    StorageError,
)
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.repair import quarantine_corrupt_records
from batchchat.jobs.ledger.resolution import final_status
from batchchat.jobs.ledger.state import State
from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.results.finalize import finalize_state
from batchchat.workers.broker.lease_keeper import LeaseKeeper
from batchchat.workers.broker.messages import CONTROL, FINALIZE, PLAN, WorkMessage
from batchchat.workers.broker.status_board import WorkerStatus, as_problems
from batchchat.workers.broker.throttled_log import ThrottledLog
from batchchat.workers.control.batch_planner import BatchPlanner
from batchchat.workers.control.dispatcher import Dispatcher
from batchchat.workers.control.fair_turns import FairPlaces
from batchchat.workers.environment import WorkerEnvironment

log = logging.getLogger(__name__)

MAX_CONCURRENT_WORK = 32
"""Batches that are planned or finalized at the same time."""

WAITING_WORK = 32
"""Further messages that may wait for a place."""

_MAX_DEFERRED = 1_000
"""Messages whose last error is remembered, so that it is logged once."""

_TOP_UPS = 4
"""How often the queues are filled between two sweeps, at least."""

_LONGEST_PAUSE = 0.5
"""Longest time between two looks at Redis, in seconds."""

_IDLE_FACTOR = 2.25
"""Without any batch, the time between two sweeps is longer by this factor."""


class Controller:
    """Does the work that messages on the control queue name, and sweeps."""

    def __init__(
        self,
        environment: WorkerEnvironment,
        planner: BatchPlanner,
        dispatcher: Dispatcher,
        keeper: LeaseKeeper,
        *,
        deliver: Callable[[WorkMessage], object],
        is_announced: Callable[[], bool] = lambda: False,
        places: int = MAX_CONCURRENT_WORK,
        indexes: bool = True,
        on_finalized: Callable[[State], object] = lambda _: None,
    ) -> None:
        """Work on up to `places` messages at the same time.

        `deliver` gets each ended batch whose results are due for delivery. A sweep
        begins when `is_announced()` is true; it may raise `BrokerError`. With
        `indexes`, the answers of ended batches are indexed.
        """
        self._places = FairPlaces(places)
        self._indexes = indexes
        self._environment = environment
        self._planner = planner
        self._dispatcher = dispatcher
        self._keeper = keeper
        self._deliver = deliver
        self._is_announced = is_announced
        self._on_finalized = on_finalized
        self._status = WorkerStatus(
            id=uuid4().hex,
            queue=CONTROL,
            model="",
            host=environment.host_name,
            since=environment.clock(),
            tokens_per_second=0,
            shards=[],
        )
        self._deferred = LruCache[str, str](_MAX_DEFERRED)
        self._wake = Event()
        self._stopped = Event()

    def handle(self, message: WorkMessage) -> None:
        """Plan or end a batch, unless another controller does. Raises no error.

        If the project has enough work here, the message is dropped: it is sent again.
        """
        with self._places.taken(message.project) as may_start:
            if may_start:
                self._handle_safely(message)

    def _handle_safely(self, message: WorkMessage) -> None:
        try:
            with self._keeper.hold_unmonitored(message.name) as is_held:
                if is_held:
                    self._handle(message)
                    self._dispatcher.note_denied(message.batch_id, None)
        except Exception as error:
            if isinstance(error, BatchchatError):
                self._log_deferred_once(message, error)
                if isinstance(error, StorageAccessError):
                    self._dispatcher.note_denied(message.batch_id, _describe(error))
            else:
                log.exception("%s failed", message.name)
            self._environment.on_failure(error)
        self._dispatcher.touch(message.batch_id)
        self.wake()

    def _log_deferred_once(self, message: WorkMessage, error: BatchchatError) -> None:
        """Log why a message is deferred, but not again each time it is repeated."""
        if self._deferred.get(message.name) != error.message:
            log.warning("deferred %s: %s", message.name, error.message)
            self._deferred.put(message.name, error.message)

    def run_sweeps(self, on_denied: Callable[[], object] = lambda: None) -> None:
        """Sweep until `stop` is called.

        Calls `on_denied` if this process may not use the storage, and never could.
        """
        throttled_log = ThrottledLog("services", self._environment.monotonic)
        has_swept = False
        while not self._stopped.is_set():
            error = self._sweep()
            problem = None if error is None else _describe(error)
            self._note_problems(problem)
            throttled_log.report(problem)
            has_swept = has_swept or error is None
            if isinstance(error, StorageAccessError) and not has_swept:
                on_denied()
            self._wait()

    def _note_problems(self, problem: str | None) -> None:
        """Take over what a sweep could not read into the published status."""
        self._status = msgspec.structs.replace(
            self._status,
            storage_problem=problem,
            batch_problems=as_problems(self._dispatcher.problems),
        )

    def _wait(self) -> None:
        """Wait for the next sweep; keep the queues filled meanwhile."""
        interval = self._environment.settings.controller_interval_seconds
        pause = min(interval / _TOP_UPS, _LONGEST_PAUSE)
        factor = _IDLE_FACTOR if self._dispatcher.is_idle else 1
        for _ in range(round(factor * interval / pause)):
            if self._wake.wait(pause):
                break
            with suppress(BrokerError):
                self._dispatcher.top_up()
                if self._is_announced():
                    break
        self._wake.clear()

    def wake(self) -> None:
        """Have the next sweep start now."""
        self._wake.set()

    def stop(self) -> None:
        """Stop to sweep, and remove this controller from the status board."""
        self._stopped.set()
        self.wake()
        with suppress(BrokerError):
            self._environment.status_board.remove(self._status.id)

    def publish_status(self) -> None:
        """Publish that this controller is running."""
        with suppress(BrokerError):
            self._environment.status_board.publish(self._status, {})

    def _sweep(self) -> Exception | None:
        """Sweep once; return the error if that failed."""
        try:
            for message in self._dispatcher.sweep():
                self._deliver(message)
        except Exception as error:
            self._environment.on_failure(error)
            if not isinstance(error, BrokerError | StorageError):
                log.exception("a sweep failed")
            return error
        return None

    def _handle(self, message: WorkMessage) -> None:
        ledger = self._dispatcher.ledger(message.project)
        is_plan = message.work == PLAN
        state = ledger.state(message.batch_id, by_listing=True)
        state = quarantine_corrupt_records(ledger, state)
        if is_plan and state.plan is None and not state.is_terminal:
            plan = self._planner.plan(ledger, state.batch)
            log.info(
                "planned %s: %d requests in %d shards",
                message.batch_id,
                plan.requests,
                len(plan.shards),
            )
        elif message.work == FINALIZE:
            self._finalize(ledger, state)

    def _finalize(self, ledger: Ledger, state: State) -> None:
        """End a batch, if it still has to end."""
        state = self._with_plan(ledger, state)
        status = final_status(state, ledger.now())
        if status is not None:
            self._environment.progress.phase = "finalizing"
            with self._planner.turns.taking(ledger.project) as pause:
                paced = self._dispatcher.paced_ledger(ledger.project, pause)
                state = finalize_state(paced, state, status)
            log.info("%s is %s", state.batch.id, state.status)
            self._dispatcher.remove_ended(state)
            self._on_finalized(state)
            if self._indexes:
                with self._planner.turns.taking(ledger.project) as pause:
                    paced = self._dispatcher.paced_ledger(ledger.project, pause)
                    self._planner.index(paced, state)

    def _with_plan(self, ledger: Ledger, state: State) -> State:
        """Return the state with a plan, so that each custom_id gets its error line.

        A batch that cannot be planned ends all the same.
        """
        if state.plan is not None or state.is_terminal:
            return state
        try:
            self._planner.plan(ledger, state.batch)
        except StorageError:  # the storage may become available again
            raise
        except Exception:
            log.exception("%s ends without a check of its input", state.batch.id)
        return ledger.state(state.batch.id)  # another controller may have planned it


def _describe(error: Exception) -> str:
    if not isinstance(error, BatchchatError):
        return str(error)
    return f"{error.message}; {error.hint}" if error.hint else error.message
