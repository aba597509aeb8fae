"""Loads the engine of one model after the other, and runs the model's shards on it."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Protocol

from typing_extensions import override

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.engine.protocol import Engine, EngineActivity
from batchchat.jobs.errors import (
    BatchchatError,
    EngineDeadError,
    EngineError,
)
from batchchat.jobs.execution.progress import EngineProgress
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.logs import event_fields
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.engine.hang_detector import HangDetector
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.local.engines import Engines, ModelBroker
from batchchat.workers.shards.open_attempts import WorkDone
from batchchat.workers.shards.shard_host import ShardHost

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_MAX_OPEN_SHARDS = 64
"""Shards that may wait for their last answers at the same time."""

_LOW_QUEUE_LENGTH = 4
"""Number of queued messages at which `on_low_queue` is called."""

_MAX_MODEL_SLICE_SECONDS = 600.0
"""Time after which a busy model yields the machine to another model that has work."""

_MAX_ENGINE_DEATHS = 8
"""Consecutive deaths of an engine without a result after which its model is put off.

Fewer are enough to find a request that kills the engine."""

_BACKOFF = Backoff(first=5.0, longest=300.0)


class ClosableEngine(Engine, Protocol):
    """An engine that can be closed."""

    def seconds_since_last_step(self) -> float | None:
        """Return the age of the last finished step, None while no request runs."""
        ...

    def abandon(self, reason: str) -> None:
        """Answer all requests with an error, because no step returns any more."""
        ...

    def close(self) -> bool:
        """End all processes of the engine; return whether its thread ended."""
        ...


StartEngine = Callable[[Model], ClosableEngine]


class EngineLoop(Engines):
    """Serves the queues of all models, with one engine at a time."""

    def __init__(
        self,
        environment: WorkerEnvironment,
        broker: ModelBroker,
        start_engine: StartEngine,
        *,
        current_model: Callable[[Model], Model] = lambda planned: planned,
        on_loaded: Callable[[WorkMessage], object] = lambda _: None,
        on_low_queue: Callable[[], object] = lambda: None,
        on_stuck: Callable[[], object] = lambda: None,
        on_unusable: Callable[[BaseException], object] | None = None,
    ) -> None:
        """Run the messages of `broker`.

        `current_model` returns a planned model with the current engine arguments.
        `on_loaded` gets the message that an engine was loaded for. `on_stuck` is called
        after an engine hung that could not be closed. `on_unusable` gets the errors
        that keep an engine from running, unless `on_failure` of the environment does.
        """
        self._environment = environment
        self._broker = broker
        self._start_engine = start_engine
        self._current_model = current_model
        self._on_loaded = on_loaded
        self._on_low_queue = on_low_queue
        self._on_stuck = on_stuck
        self._on_unusable = on_unusable or environment.on_failure
        self._room = Event()
        self._drain_seconds = 0.0
        self._host: ShardHost | None = None
        self._earlier_work = self._earlier_results = WorkDone()
        self._failures: Counter[str] = Counter()
        self._died: set[str] = set()
        self._put_off_until: dict[str, float] = {}
        self._last_served_at: dict[str, float] = {}
        self.loaded_model: str | None = None

    @property
    @override
    def loaded_models(self) -> list[str]:
        return [self.loaded_model] if self.loaded_model else []

    @override
    def run(self) -> None:
        """Serve one queue after the other until `close` is called."""
        while not self._broker.is_closed:
            queues = self._broker.first_messages(_POLL_SECONDS, exclude=self._put_off())
            if not queues:
                continue
            queue = min(queues, key=lambda name: self._last_served_at.get(name, 0.0))
            try:
                failure: BaseException | None = self._serve(queue, queues[queue])
            except BaseException as error:  # noqa: BLE001 - `_record_result` logs it
                failure = error
            self._last_served_at[queue] = time.monotonic()
            self._record_result(queue, failure)

    @override
    def close(self, drain_seconds: float) -> None:
        self._drain_seconds = drain_seconds
        self._broker.close()
        self._room.set()
        if self._host is not None:
            self._host.drain(drain_seconds)

    @override
    def activity(self) -> EngineActivity | None:
        host = self._host if self.loaded_model else None
        return host.engine.activity() if host else None

    @override
    def progress(self) -> list[EngineProgress]:
        return []

    @override
    def results(self) -> WorkDone:
        host, earlier = self._host, self._earlier_results
        return earlier.plus(host.attempts.results()) if host else earlier

    def committed(self) -> WorkDone:
        """Return those of the results whose shards are finished."""
        host, earlier = self._host, self._earlier_results
        return earlier.plus(host.attempts.committed()) if host else earlier

    @override
    def work_done(self) -> WorkDone:
        host, earlier = self._host, self._earlier_work
        return earlier.plus(host.attempts.work_done()) if host else earlier

    def _serve(self, queue: str, message: WorkMessage) -> EngineError | None:
        """Load the model of a shard and run all shards that wait for it.

        Return the error that ended the engine, unless it has computed results before.
        Either way, report it.

        Raises:
            EngineError: the engine did not start.
            StorageError: the plan cannot be read.

        """
        environment = self._environment
        ledger = Ledger(environment.storage, message.project, environment.clock)
        plan = ledger.plan(message.batch_id)
        if plan is None:  # the batch was removed, or is planned again
            self._drop_first(queue)
            return None
        model = self._current_model(plan.require_model())
        engine = self._load(model)
        try:
            host = self._make_host(model, engine)
            self._on_loaded(message)
            detector = HangDetector(engine, environment.settings.stall_seconds)
            host.keeper.start(partial(_tick, host, engine, detector))
            try:
                self._feed(host)
            finally:
                host.close()
        finally:
            self.loaded_model = None
            is_closed = engine.close()
        error = host.engine_error
        if error is None:
            self._died.discard(queue)
        else:
            self._died.add(queue)
        if not (is_closed or self._broker.is_closed):  # another engine would not fit
            environment.on_failure(error or EngineDeadError("the engine hangs"))
            self._on_stuck()
        if error is not None and host.attempts.work_done().generated.total:
            self._report_death(error, deaths=1)
            return None
        return error

    def _report_death(self, error: BaseException, deaths: int) -> None:
        """Report why an engine died, unless it is not restarted."""
        if self._broker.is_closed:
            return
        reason = getattr(error, "reason", "") or str(error)
        text = f"engine died ({reason}); restarting, {deaths} of {_MAX_ENGINE_DEATHS}"
        log.warning(text)
        self._environment.progress.notices.append(text)

    def _drop_first(self, queue: str) -> None:
        """Drop a message; the dispatcher sends it again if its shard is to be run."""
        message = self._broker.receive(queue, 0.0)
        if message is not None:
            self._broker.finish(message)

    def _load(self, model: Model) -> ClosableEngine:
        self._environment.progress.phase = "loading"
        event = event_fields("model_loading", model=model.name)
        log.info("loading %s", model.name, extra=event)
        return self._start_engine(model)

    def _make_host(self, model: Model, engine: ClosableEngine) -> ShardHost:
        host = ShardHost(self._environment, model, engine)
        host.on_room = self._room.set
        self._earlier_work, self._earlier_results = self.work_done(), self.committed()
        self._host, self.loaded_model = host, model.name
        return host

    def _feed(self, host: ShardHost) -> None:
        """Start shards until another model should run, the engine dies or the end."""
        began = time.monotonic()
        active: set[Future[None]] = set()
        with ThreadPoolExecutor(_MAX_OPEN_SHARDS, "shard") as pool:
            while not (self._broker.is_closed or host.engine_error):
                active = {future for future in active if not future.done()}
                if self._should_yield(host.queue, began, is_busy=bool(active)):
                    break
                if not host.has_room(len(active)):
                    self._room.wait(_POLL_SECONDS)
                    self._room.clear()
                elif message := self._receive(host.queue):
                    future = pool.submit(host.run, message)
                    active.add(future)
                    future.add_done_callback(partial(self._on_shard_done, message))
            if self._broker.is_closed:
                host.drain(self._drain_seconds)

    def _receive(self, queue: str) -> WorkMessage | None:
        message = self._broker.receive(queue, _POLL_SECONDS)
        if message and len(self._broker.waiting(queue)) < _LOW_QUEUE_LENGTH:
            self._on_low_queue()
        return message

    def _on_shard_done(self, message: WorkMessage, future: Future[None]) -> None:
        if error := future.exception():
            self._environment.on_failure(error)
        self._broker.finish(message)
        self._room.set()
        if not self._broker.first_messages():
            self._on_low_queue()

    def _should_yield(self, queue: str, since: float, *, is_busy: bool) -> bool:
        """Return whether this model is idle or had its time, and another has work."""
        exclude = {queue, *self._put_off()}
        if not self._broker.first_messages(exclude=exclude):
            return False
        is_idle = not is_busy and not self._broker.waiting(queue)
        return is_idle or time.monotonic() - since > _MAX_MODEL_SLICE_SECONDS

    def _put_off(self) -> set[str]:
        now = time.monotonic()
        return {queue for queue, until in self._put_off_until.items() if until > now}

    def _record_result(self, queue: str, failure: BaseException | None) -> None:
        """Restart an engine that died at once; put off a model that keeps failing.

        An engine that does not start is tried again only if it has run before: the
        memory that it had may not be free yet.
        """
        if failure is None:
            self._failures.pop(queue, None)
            return
        self._failures[queue] += 1
        failures = self._failures[queue]
        is_death = queue in self._died and isinstance(failure, EngineError)
        if is_death and failures < _MAX_ENGINE_DEATHS:
            self._report_death(failure, failures)
            return
        if isinstance(failure, BatchchatError):
            log.warning("cannot run %s: %s", queue, failure.message)
        else:
            log.error("cannot run %s", queue, exc_info=failure)
        self._on_unusable(failure)
        self._put_off_until[queue] = time.monotonic() + _BACKOFF.seconds(failures)


def _tick(host: ShardHost, engine: ClosableEngine, detector: HangDetector) -> None:
    """Publish the status, and abandon an engine that hangs."""
    host.tick()
    if detector.is_hung():
        engine.abandon("the engine hangs")
