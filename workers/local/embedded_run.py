"""The embedded dispatcher: runs a batch in this process, with no services.

Level-triggered, as the cluster's: again and again it works out which shards have
no commit, and opens one after the other for as long as the engine has room. The
first run, a resume and a run after an engine's death are the same code.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import Protocol

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.engine.protocol import Engine
from batchchat.jobs.errors import (
    EngineDeadError,
    EngineError,
    EngineStartError,
    StorageError,
)
from batchchat.jobs.execution.answer_cache import AnswerCache
from batchchat.jobs.execution.attempt import Attempt
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.ledger.cost_limit import (
    DRAIN_SECONDS,
    cost_limit_reached,
    request_cost_cancellation,
)
from batchchat.jobs.ledger.ledger import Ledger, State
from batchchat.jobs.ledger.records import Shard
from batchchat.jobs.ledger.repair import has_shard_results, quarantine_corrupt_records
from batchchat.jobs.ledger.resolution import final_status
from batchchat.jobs.planning.planner import make_plan, plan_limits
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.results.delivery import deliver
from batchchat.jobs.results.finalize import finalize, publish_results
from batchchat.jobs.settings import Settings
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage import Storage
from batchchat.jobs.storage.destination import Destination
from batchchat.workers.engine.hang_detector import HangDetector
from batchchat.workers.local.batch_lock import batch_lock

_LOOK = 0.2
_CANCEL_LOOK = 1.0
_OPEN_SHARDS = 64
"""Shards that may wait for their last answers at once."""

_ENGINE_DEATHS = 8
"""Deaths of the engine without a result in between, after which we give up.

Fewer do to find a request that kills it."""


class ClosableEngine(Engine, Protocol):
    """An engine that ends when it is told to."""

    def seconds_since_last_step(self) -> float | None:
        """Return how long ago the last step ended, None where there is no work."""
        ...

    def abandon(self, reason: str) -> None:
        """Answer all that runs with an error, because no step returns any more."""
        ...

    def close(self) -> bool:
        """End every process of it; say whether that went."""
        ...


StartEngine = Callable[[Model], ClosableEngine]


class EmbeddedRun:
    """Runs one batch to its end, or until it is asked to stop."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        renderers: RendererRegistry,
        *,
        start_engine: StartEngine,
        stop: ShutdownSignal,
        progress: Progress,
        locks: Path,
    ) -> None:
        """`stop` ends the run early; `locks` is a folder on this machine."""
        self._ledger = ledger
        self._settings = settings
        self._renderers = renderers
        self._start_engine = start_engine
        self._stop = stop
        self._progress = progress
        self._locks = locks
        self._ending: str | None = None
        self._looked = 0.0
        self._watch: Callable[[], object] = lambda: None
        self._hangs_on = False

    def run(self, batch_id: str) -> State:
        """Plan, run and end the batch as far as it is not yet; return its state.

        Raises:
            BatchLockedError: another process runs it.
            BatchchatError: it could not go on; what is finished is kept.

        """
        with batch_lock(self._locks, batch_id):
            state = self._planned(batch_id)
            if not state.is_terminal:
                self._look(state)
                state = self._run_shards(state)
            return self._ended(state)

    def _planned(self, batch_id: str) -> State:
        state = self._state(batch_id)
        is_wanted = state.cancelled_at is None or has_shard_results(
            self._ledger, batch_id
        )
        if state.plan is None and is_wanted:
            self._progress.phase = "checking"
            make_plan(
                self._ledger,
                state.batch,
                self._renderers,
                plan_limits(self._settings),
                self._progress.on_checked,
            )
            state = self._ledger.state(batch_id)
        return state

    def _state(self, batch_id: str) -> State:
        return quarantine_corrupt_records(self._ledger, self._ledger.state(batch_id))

    def _run_shards(self, state: State) -> State:
        """Start engines until every shard is committed, or the end is asked for."""
        self._progress.total = state.counts().total
        deaths = 0
        while state.pending() and not self._stop.requested:
            failure: EngineError = EngineDeadError("the shards can't be finished")
            try:
                with self._engine(state) as engine:
                    self._dispatch(state, engine)
            except EngineError as error:
                failure = error
                if self._hangs_on or (
                    isinstance(error, EngineStartError) and not deaths
                ):
                    raise
            state = self._state(state.batch.id)
            deaths = 0 if self._progress.counts.total else deaths + 1
            if deaths == _ENGINE_DEATHS and not self._stop.requested:
                raise failure
        return state

    @contextmanager
    def _engine(self, state: State) -> Iterator[ClosableEngine]:
        self._progress.phase = "loading"
        engine = self._start_engine(state.require_plan().require_model())
        watch = HangDetector(engine, self._settings.stall_seconds)
        self._watch = partial(_abandon_if_hung, engine, watch)
        try:
            self._progress.start(state.counts(), state.usage())
            if state.batch.max_cost is not None:
                self._progress.on_result = partial(self._look_at_cost, state, engine)
            yield engine
        finally:
            self._watch = lambda: None
            self._hangs_on = not engine.close()

    def _dispatch(self, state: State, engine: Engine) -> None:
        """Feed the engine from one pending shard after the other."""
        task = self._task(state, engine)
        shards = {shard.index: shard for shard in state.require_plan().shards}
        open_shards: set[Future[bool]] = set()
        with ThreadPoolExecutor(_OPEN_SHARDS, "shard") as pool:
            for index in state.pending():
                fed = Event()
                open_shards.add(pool.submit(_run, task, shards[index], fed))
                while not fed.wait(_LOOK):
                    self._look(state)
                self._look(state)
                open_shards = self._still_open(open_shards)
                if self._stop.requested:
                    break
            while open_shards:
                wait(open_shards, _LOOK, FIRST_COMPLETED)
                self._look(state)
                open_shards = self._still_open(open_shards)

    def _task(self, state: State, engine: Engine) -> BatchContext:
        return BatchContext(
            ledger=self._ledger,
            batch=state.batch,
            model=state.require_plan().require_model(),
            engine=engine,
            stop=self._stop,
            progress=self._progress,
            max_line_bytes=state.require_plan().line_bytes,
            first_tail_shard=state.require_plan().first_tail_shard,
            checkpoint_seconds=self._settings.checkpoint_seconds,
            answer_cache=AnswerCache(enabled=self._settings.deduplicate_requests),
        )

    def _still_open(self, shards: set[Future[bool]]) -> set[Future[bool]]:
        for future in shards:
            if future.done() and (error := future.exception()):
                # no other shard is opened; those that are open end first
                raise error
        return {future for future in shards if not future.done()}

    def _look(self, state: State) -> None:
        """See whether the batch is to end early, or its engine hangs."""
        self._watch()
        now = time.monotonic()
        if self._ending or now - self._looked < _CANCEL_LOOK:
            return
        self._looked = now
        if self._ledger.cancel(state.batch.id):
            self._ending = "cancelled"
        elif self._ledger.now() >= state.batch.expires_at:
            self._ending = "expired"
        if self._ending:
            self._stop.request(0)

    def _look_at_cost(self, state: State, engine: Engine) -> None:
        """See whether the batch has come to the most that it may cost."""
        if self._ending:
            return
        done = self._progress.total_counts()
        left = state.require_plan().requests - done.completed - done.failed
        price = state.require_plan().require_model().price
        used = self._progress.total_usage()
        in_flight = min(left, engine.capacity)
        if left and cost_limit_reached(state.batch, price, done, used, in_flight):
            request_cost_cancellation(self._ledger, state.batch.id)
            self._ending = "cancelled"
            self._stop.request(DRAIN_SECONDS)

    def _ended(self, state: State) -> State:
        """Finalize if there is nothing left to run, and deliver the results."""
        state = self._finalized(state)
        if state.is_delivered:
            return state
        self._progress.phase = "delivering"
        deliver(self._ledger, state, self._open)
        return self._ledger.state(state.batch.id)

    def _open(self, url: str) -> Storage:
        """Open a destination: it is the user's own, who runs this."""
        return Destination.parse(url).open(
            self._settings.s3_endpoint, path_style=self._settings.s3_path_style
        )

    def _finalized(self, state: State) -> State:
        if state.final is not None:  # by one who may have died before it was seen
            publish_results(self._ledger, state)
            return state
        how = (
            self._ending if state.pending() else final_status(state, self._ledger.now())
        )
        if how is None or state.status == "failed":
            return state
        self._progress.phase = "finalizing"
        return finalize(self._ledger, state.batch.id, how)


def _abandon_if_hung(engine: ClosableEngine, watch: HangDetector) -> None:
    if watch.is_hung():
        engine.abandon("the engine hangs")


def _run(task: BatchContext, shard: Shard, fed: Event) -> bool:
    """Run one shard; say by `fed` when the next one may ask."""
    attempt = Attempt(task, shard)
    try:
        try:
            attempt.feed()
        finally:
            fed.set()
        return attempt.finish()
    except StorageError:
        with suppress(StorageError):  # a mark that is left would count as a death
            attempt.withdraw()
        raise
