"""The controller: plans batches, has their shards run, and ends them."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from uuid import uuid4

from batchchat.jobs.errors import BatchchatError, BrokerError, ConfigError, StorageError
from batchchat.jobs.ledger.ledger import Ledger, State
from batchchat.jobs.ledger.records import Plan
from batchchat.jobs.ledger.repair import quarantine_corrupt_records
from batchchat.jobs.ledger.resolution import final_status
from batchchat.jobs.planning.planner import make_plan, plan_limits, reject
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.results.finalize import finalize
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import Storage
from batchchat.workers.broker.lease_keeper import LeaseKeeper
from batchchat.workers.broker.messages import CONTROL, FINALIZE, PLAN, WorkMessage
from batchchat.workers.broker.status_board import StatusBoard, WorkerStatus
from batchchat.workers.control.delivery_pool import DeliveryPool
from batchchat.workers.control.dispatcher import Dispatcher

log = logging.getLogger(__name__)


class Controller:
    """Does what messages on the control queue say, and sweeps beside it."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        renderers: RendererRegistry,
        *,
        dispatcher: Dispatcher,
        keeper: LeaseKeeper,
        status_board: StatusBoard,
        name: str = "",
        on_ended: Callable[[State], object] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Work on the batches in `storage`."""
        self._storage = storage
        self._settings = settings
        self._renderers = renderers
        self._dispatcher = dispatcher
        self._keeper = keeper
        self._status_board = status_board
        self._me = WorkerStatus(
            id=uuid4().hex,
            queue=CONTROL,
            model="",
            host=name,
            since=clock(),
            tokens_per_second=0,
            shards=[],
        )
        self._deliveries = DeliveryPool(storage, settings, keeper, clock)
        self._on_ended = on_ended
        self._clock = clock
        self._wake = Event()
        self._ended = Event()

    def run(self, message: WorkMessage) -> None:
        """Plan a batch, or end it, unless another controller does. Never raises."""
        try:
            with self._keeper.hold_unmonitored(message.name) as held:
                if held:
                    self._run(message)
        except BatchchatError as error:
            log.warning("%s is left for later: %s", message.name, error)
        except Exception:
            log.exception("%s failed", message.name)
        self._wake.set()

    def start(self) -> None:
        """Begin to sweep, in a thread."""
        Thread(target=self._sweep, name="dispatcher", daemon=True).start()

    def stop(self) -> None:
        """Sweep no more."""
        self._ended.set()
        self._wake.set()
        with suppress(BrokerError):
            self._status_board.remove(self._me.id)

    def _run(self, message: WorkMessage) -> None:
        ledger = Ledger(self._storage, message.project, self._clock)
        state = quarantine_corrupt_records(ledger, ledger.state(message.batch_id))
        if message.work == PLAN and state.plan is None and not state.is_terminal:
            plan = self._plan(ledger, state)
            log.info(
                "%s has %d requests in %d shards",
                message.batch_id,
                plan.requests,
                len(plan.shards),
            )
        elif message.work == FINALIZE:
            state = self._planned(ledger, state)
            how = final_status(state, ledger.now())
            if how is not None:
                state = finalize(ledger, message.batch_id, how)
                log.info("%s is %s", message.batch_id, state.status)
                self._on_ended(state)

    def _planned(self, ledger: Ledger, state: State) -> State:
        """Return the state with a plan, so that each custom_id gets its line.

        One that can't be made is no reason not to end.
        """
        if state.plan is not None or state.is_terminal:
            return state
        try:
            self._plan(ledger, state)
        except StorageError:  # which may come back
            raise
        except Exception:
            log.exception("%s ends unchecked", state.batch.id)
            return state
        return ledger.state(state.batch.id)

    def _plan(self, ledger: Ledger, state: State) -> Plan:
        """Return the batch's plan, which fails it where its model can't be used."""
        sizes = plan_limits(self._settings)
        try:
            return make_plan(ledger, state.batch, self._renderers, sizes)
        except ConfigError as error:
            return reject(ledger, state.batch, error)

    def publish_status(self) -> None:
        """Say that this controller is there."""
        with suppress(BrokerError):
            self._status_board.publish(self._me, {})

    def _sweep(self) -> None:
        said: str | None = None
        while not self._ended.is_set():
            try:
                for message in self._dispatcher.sweep():
                    self._deliveries.start(message)
                problem = None
            except (BrokerError, StorageError) as error:
                problem = error.message
            except Exception as error:
                log.exception("a sweep failed")
                problem = str(error)
            if problem != said:
                log.warning("%s", problem or "all answers again")
                said = problem
            self._wake.wait(self._settings.controller_interval_seconds)
            self._wake.clear()
