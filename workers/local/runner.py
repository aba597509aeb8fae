"""A cluster within one process: the same dispatcher, the same way to run shards.

All batches of the loaded model share its engine, by priority and project by project.
A runner serves all active batches of a storage, or is limited to some of them.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from threading import Thread

from batchchat.jobs.catalog.engine_arguments import with_current_engine
from batchchat.jobs.engine.protocol import EngineActivity
from batchchat.jobs.execution.progress import EngineProgress
from batchchat.jobs.ledger.state import State
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.workers.broker.messages import CONTROL, WorkMessage
from batchchat.workers.broker.status_board import ShardProgress
from batchchat.workers.control.batch_planner import BatchPlanner
from batchchat.workers.control.controller import Controller
from batchchat.workers.control.delivery_pool import DeliveryPool
from batchchat.workers.control.dispatcher import BatchIndex, Dispatcher
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.local.engine_launch import PoolConfig
from batchchat.workers.local.engine_loop import EngineLoop, StartEngine
from batchchat.workers.local.engine_pool import EnginePool
from batchchat.workers.local.engines import Engines
from batchchat.workers.local.in_process_broker import InProcessBroker
from batchchat.workers.shards.open_attempts import WorkDone

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_MAX_CONCURRENT_BATCHES = 4
"""Batches that are planned or finalized at the same time."""


@dataclass
class RunnerStats:
    """What a runner has done since it was started."""

    batches_ended: Counter[str] = field(default_factory=Counter)
    requests_done: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    cost: Decimal = Decimal(0)


class LocalRunner:
    """Runs batches in threads of its own."""

    def __init__(
        self,
        environment: WorkerEnvironment,
        broker: InProcessBroker,
        registry: RendererRegistry,
        *,
        start_engine: StartEngine,
        pool: PoolConfig | None = None,
        batches: BatchIndex | None = None,
        deliver: Callable[[WorkMessage], object] | None = None,
        on_loaded: Callable[[WorkMessage], object] = lambda _: None,
        on_stuck: Callable[[], object] = lambda: None,
    ) -> None:
        """Use `broker`, which the environment has for its leases and status board.

        With a `pool`, each of its engines has a process of its own. With `batches`,
        only these are run, for a user who can correct the configuration of a model, and
        they are not indexed. `deliver` replaces the delivery in the background. For the
        others see `EngineLoop`.
        """
        settings = environment.settings.model_copy(
            update={
                "controller_interval_seconds": _POLL_SECONDS,
                # Its leases do not expire, even if the process is suspended.
                "lease_seconds": math.inf,
            }
        )
        environment = replace(environment, settings=settings)
        keeper = environment.lease_keeper()
        self._environment = environment
        self._broker = broker
        self._ended = RunnerStats()
        self._controller = Controller(
            environment,
            BatchPlanner(environment, registry, fail_unusable=batches is None),
            Dispatcher(environment, broker, batches),
            keeper,
            deliver=deliver or DeliveryPool(environment, keeper).start,
            places=_MAX_CONCURRENT_BATCHES,
            indexes=batches is None,
            on_finalized=self._count_batch,
        )
        low_queue = self._controller.wake
        self._engines: Engines = (
            EnginePool(
                environment, broker, pool, on_loaded=on_loaded, on_low_queue=low_queue
            )
            if pool
            else EngineLoop(
                environment,
                broker,
                start_engine,
                current_model=lambda planned: with_current_engine(
                    planned, registry.catalog
                ),
                on_loaded=on_loaded,
                on_low_queue=low_queue,
                on_stuck=on_stuck,
            )
        )
        self._threads = [
            self._make_thread("dispatcher", self._controller.run_sweeps),
            self._make_thread("engines", self._engines.run),
            *(
                self._make_thread(f"control-{number}", self._handle_control)
                for number in range(2 * _MAX_CONCURRENT_BATCHES)
            ),
        ]

    @property
    def stats(self) -> RunnerStats:
        """What was done so far."""
        done = self._engines.work_done()
        counts, usage = done.generated, done.usage
        return RunnerStats(
            self._ended.batches_ended.copy(),
            Counter(completed=counts.completed, failed=counts.failed),
            Counter(input=usage.input_tokens, output=usage.output_tokens),
            self._ended.cost,
        )

    @property
    def shards(self) -> dict[tuple[str, str], ShardProgress]:
        """Progress of the open shards, by batch id and shard number as text."""
        return self._broker.shards

    @property
    def tokens_per_second(self) -> float:
        """Tokens generated per second."""
        return self._broker.tokens_per_second

    @property
    def loaded_models(self) -> list[str]:
        """Names of the models that are loaded, one for each engine."""
        return self._engines.loaded_models

    def activity(self) -> EngineActivity | None:
        """Return what the loaded engine does, None if no engine is loaded."""
        return self._engines.activity()

    def engines(self) -> list[EngineProgress]:
        """Return what each of several engines does; nothing for a single one."""
        return self._engines.progress()

    def results(self) -> WorkDone:
        """Return the results that the engines have contributed."""
        return self._engines.results()

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def close(self, drain_seconds: float) -> None:
        """End; running requests may finish within `drain_seconds`. Results are kept."""
        self._engines.close(drain_seconds)
        self._controller.stop()
        for thread in self._threads:
            thread.join()

    def handle(self, message: WorkMessage) -> None:
        """Plan or finalize a batch in the calling thread; see `Controller.handle`."""
        self._controller.handle(message)

    def _handle_control(self) -> None:
        while not self._broker.is_closed:
            message = self._broker.receive(CONTROL, _POLL_SECONDS)
            if message is not None:
                self._handle(message)
                self._broker.finish(message)

    def _handle(self, message: WorkMessage) -> None:
        try:
            self._controller.handle(message)
        except BaseException as error:  # a Rust panic is no Exception
            log.exception("%s failed", message.name)
            self._environment.on_failure(error)

    def _count_batch(self, state: State) -> None:
        self._ended.batches_ended[state.status] += 1
        self._ended.cost += state.cost() or 0

    def _make_thread(self, name: str, target: Callable[[], object]) -> Thread:
        def run() -> None:
            try:
                target()
            except BaseException as error:
                log.exception("a thread of the runner died")
                self._environment.on_failure(error)

        return Thread(target=run, name=name)
