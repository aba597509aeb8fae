"""A cluster within one process: the same dispatcher, the same way to run shards.

One engine is loaded at a time. All batches of its model share it, by priority and
project by project; batches of another model get their turn when it is idle, or after
a while.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from threading import Event, Thread

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.ledger.ledger import Ledger, State
from batchchat.jobs.ledger.records import Counts
from batchchat.jobs.logs import event_fields
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import CachedStorage, Storage
from batchchat.workers.broker.lease_keeper import LeaseKeeper
from batchchat.workers.broker.messages import CONTROL, WorkMessage
from batchchat.workers.broker.status_board import ShardProgress
from batchchat.workers.control.controller import Controller
from batchchat.workers.control.dispatcher import Dispatcher
from batchchat.workers.engine.hang_detector import HangDetector
from batchchat.workers.local.embedded_run import ClosableEngine
from batchchat.workers.local.in_process_broker import InProcessBroker
from batchchat.workers.shards.shard_host import ShardHost

_logger = logging.getLogger(__name__)

_LOOK = 0.5
_CONTROLLERS = 2
"""Batches that are planned or ended at once."""

_SHARDS = 32
"""Shards that may wait for their last answers at once."""

_TURN = 600.0
"""Seconds after which a model that never rests lets another one have the machine."""

_BACKOFF = Backoff(first=5.0, longest=300.0)


@dataclass
class RunnerStats:
    """What a runner has done since it was started."""

    batches_ended: Counter[str] = field(default_factory=Counter)
    requests_done: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    cost: Decimal = Decimal(0)

    def add(self, counts: Counts, usage: Usage) -> None:
        """Add what one engine has done."""
        self.requests_done += Counter(completed=counts.completed, failed=counts.failed)
        self.tokens += Counter(input=usage.input_tokens, output=usage.output_tokens)


class LocalRunner:
    """Runs the active batches of all projects, in threads of its own."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        catalog: Catalog,
        *,
        start_engine: Callable[[Model], ClosableEngine],
        models: Path,
        on_hang: Callable[[], object] = lambda: None,
    ) -> None:
        """Run the batches in `storage`; `on_hang` is called after an engine hung."""
        self._storage = CachedStorage(storage)
        self._settings = settings.model_copy(
            update={"controller_interval_seconds": _LOOK}
        )
        self._start_engine = start_engine
        self._on_hang = on_hang
        self._hangs = False
        self._hints = InProcessBroker()
        self._closing = Event()
        self._room = Event()
        self._grace = 0.0
        self._host: ShardHost | None = None
        self._failures: Counter[str] = Counter()
        self._wait_until: dict[str, float] = {}
        self._served: dict[str, float] = {}
        self._totals = RunnerStats()
        self._control = self._make_controller(RendererRegistry(catalog, models))
        self._threads = [
            Thread(target=self._work, name="runner"),
            *(Thread(target=self._plan_and_end) for _ in range(_CONTROLLERS)),
        ]
        self.loaded: str | None = None

    @property
    def stats(self) -> RunnerStats:
        """What was done so far."""
        done = self._totals
        now = RunnerStats(
            done.batches_ended, done.requests_done.copy(), done.tokens.copy(), done.cost
        )
        if self._host:
            now.add(*self._host.done())
        return now

    @property
    def running(self) -> dict[tuple[str, str], ShardProgress]:
        """What open attempts have, by batch and shard."""
        return self._hints.told

    @property
    def tokens_per_second(self) -> float:
        """The tokens that are generated in a second."""
        return self._hints.tokens_per_second

    def start(self) -> None:
        """Begin."""
        self._control.start()
        for thread in self._threads:
            thread.start()

    def close(self, grace: float) -> None:
        """End; running requests get `grace` seconds, and what is done is kept."""
        self._grace = grace
        self._closing.set()
        self._control.stop()
        for thread in self._threads:
            thread.join()

    def _make_controller(self, renderers: RendererRegistry) -> Controller:
        messages, settings = self._hints, self._settings
        return Controller(
            self._storage,
            settings,
            renderers,
            dispatcher=Dispatcher(
                self._storage,
                settings,
                queue=messages,
                leases=messages,
                status_board=messages,
            ),
            keeper=self._keeper(),
            status_board=messages,
            on_ended=self._note_end,
        )

    def _keeper(self) -> LeaseKeeper:
        settings = self._settings
        return LeaseKeeper(
            self._hints,
            lease_seconds=settings.lease_seconds,
            stall_seconds=settings.stall_seconds,
        )

    def _plan_and_end(self) -> None:
        while not self._closing.is_set():
            message = self._hints.receive(CONTROL, _LOOK)
            if message is not None:
                self._control.run(message)

    def _note_end(self, state: State) -> None:
        self._totals.batches_ended[state.status] += 1
        self._totals.cost += state.cost()

    def _work(self) -> None:
        """Serve one model after the other."""
        while not self._closing.is_set():
            ready = self._ready()
            if not ready:
                self._hints.wait(_LOOK)
                continue
            queue, message = min(
                ready.items(), key=lambda one: self._served.get(one[0], 0)
            )
            try:
                progressed = self._serve(message)
            except BatchchatError as error:
                _logger.warning("%s can't be run: %s", queue, error.message)
                progressed = False
            except Exception:
                _logger.exception("%s can't be run", queue)
                progressed = False
            self._served[queue] = time.monotonic()
            self._note_result(queue, progressed=progressed)

    def _ready(self) -> dict[str, WorkMessage]:
        """Return the models' queues that have work, and are not put off."""
        now = time.monotonic()
        return {
            queue: message
            for queue, message in self._hints.model_queues().items()
            if self._wait_until.get(queue, 0.0) <= now
        }

    def _note_result(self, queue: str, *, progressed: bool) -> None:
        """Put a model off whose engine came to nothing, each time for longer."""
        if progressed:
            self._failures.pop(queue, None)
            return
        self._failures[queue] += 1
        wait = _BACKOFF.seconds(self._failures[queue])
        self._wait_until[queue] = time.monotonic() + wait

    def _serve(self, message: WorkMessage) -> bool:
        """Load the model of a shard and run what waits for it; say if it was any use.

        Raises:
            EngineError: the engine did not start.
            StorageError: the plan can't be read.

        """
        plan = Ledger(self._storage, message.project).plan(message.batch_id)
        if plan is None:
            return False
        model = plan.require_model()
        about_it = event_fields("model_loading", model=model.name)
        _logger.info("loading %s", model.name, extra=about_it)
        with closing(self._start_engine(model)) as engine:
            host = ShardHost(
                self._storage,
                self._settings,
                model,
                engine,
                leases=self._hints,
                status_board=self._hints,
            )
            host.on_room = self._room.set
            self._host, self.loaded = host, model.name
            watch = HangDetector(engine, self._settings.stall_seconds)
            host.keeper.start(partial(self._look, host, engine, watch))
            try:
                self._feed(host)
            finally:
                host.close()
                self._host = self.loaded = None
                self._totals.add(*host.done())
        if self._hangs:
            self._on_hang()
        return not host.engine_died.is_set() or bool(host.done()[0].total)

    def _look(
        self, host: ShardHost, engine: ClosableEngine, watch: HangDetector
    ) -> None:
        """Publish the status, pass on a shutdown, and give up an engine that hangs."""
        host.tick()
        if self._closing.is_set() and not host.stop.requested:
            host.drain(self._grace)
        if watch.is_hung():
            self._hangs = True
            engine.abandon("the engine hangs")

    def _feed(self, host: ShardHost) -> None:
        """Run the shards of one model, until another's turn, a death or the end."""
        began = time.monotonic()
        with ThreadPoolExecutor(_SHARDS, "shard") as pool:
            here: set[Future[None]] = set()
            while not (self._closing.is_set() or host.engine_died.is_set()):
                here = {future for future in here if not future.done()}
                if self._is_others_turn(host.queue, began, is_busy=bool(here)):
                    break
                if host.has_room(len(here)):
                    message = self._hints.receive(host.queue, _LOOK)
                    if message is not None:
                        here.add(pool.submit(host.run, message))
                else:
                    self._room.wait(_LOOK)
                    self._room.clear()
            if self._closing.is_set() and not host.stop.requested:
                host.drain(self._grace)

    def _is_others_turn(self, queue: str, since: float, *, is_busy: bool) -> bool:
        others = self._ready().keys() - {queue}
        is_idle = not is_busy and not self._hints.waiting(queue)
        return bool(others) and (is_idle or time.monotonic() - since > _TURN)
