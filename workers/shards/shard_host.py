"""What a worker process does with messages: runs shards on its one engine."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from threading import Event, Lock
from uuid import uuid4

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.engine.protocol import Engine
from batchchat.jobs.errors import BrokerError, EngineError, NotFoundError, StorageError
from batchchat.jobs.execution.answer_cache import AnswerCache
from batchchat.jobs.execution.attempt import Attempt
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.execution.engine_gate import EngineGate
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.ledger.cost_limit import (
    DRAIN_SECONDS,
    cost_limit_reached,
    request_cost_cancellation,
)
from batchchat.jobs.ledger.ledger import Ledger, State
from batchchat.jobs.ledger.records import Counts, Plan, Shard
from batchchat.jobs.settings import Settings
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage import RetryingStorage, Storage
from batchchat.workers.broker.lease_keeper import LeaseKeeper
from batchchat.workers.broker.leases import Leases
from batchchat.workers.broker.messages import WorkMessage, queue_name
from batchchat.workers.broker.status_board import (
    ShardProgress,
    StatusBoard,
    WorkerStatus,
)
from batchchat.workers.broker.throttled_log import ThrottledLog

log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds between two tries at a storage that did not answer for long."""


def _sum(done: tuple[Counts, Usage], progress: Progress) -> tuple[Counts, Usage]:
    return done[0] + progress.counts, done[1] + progress.usage


class _Open:
    """An attempt that runs, and how it is stopped and watched."""

    def __init__(self) -> None:
        self.stop = ShutdownSignal()
        self.progress = Progress()
        self.attempt: Attempt | None = None

    def moves(self) -> int:
        return self.attempt.progress_counter if self.attempt else 0


class ShardHost:
    """Runs one shard after the other, several at a time, on one engine."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        model: Model,
        engine: Engine,
        *,
        leases: Leases,
        status_board: StatusBoard,
        name: str = "",
    ) -> None:
        """Read and write `storage`; `name` says on which machine this is."""
        self.queue = queue_name(model)
        self.keeper = LeaseKeeper(
            leases,
            lease_seconds=settings.lease_seconds,
            stall_seconds=settings.stall_seconds,
        )
        self.stop = ShutdownSignal()
        self.engine_died = Event()
        self.on_room: Callable[[], object] = lambda: None
        throttled_log = ThrottledLog("storage")
        # What is finished and has no checkpoint yet would be generated again: it is
        # held for as long as it takes.
        self._storage = RetryingStorage(
            storage, math.inf, self.stop, throttled_log.report
        )
        self._settings = settings
        self._model = model
        self._engine = engine
        self._status_board = status_board
        self._name = name
        self._id = uuid4().hex
        self._since = time.time()
        self._engine_gate = EngineGate()
        self._ledgers: dict[str, Ledger] = {}
        self._open: dict[WorkMessage, _Open] = {}
        self._fed = 0
        self._active_messages = 0
        self._said = ""
        self._lock = Lock()
        self._done = (Counts(), Usage())
        self._told = (time.monotonic(), 0)

    def has_room(self, here: int) -> bool:
        """Say whether a shard may be begun, when `here` are in this process."""
        return here <= self._fed and not self._is_ending

    @property
    def is_busy(self) -> bool:
        """Whether any message is being followed."""
        return self._active_messages > 0

    def done(self) -> tuple[Counts, Usage]:
        """Return the requests and tokens that were done here."""
        with self._lock:
            done = self._done
            for one in self._open.values():
                done = _sum(done, one.progress)
            return done

    def run(self, message: WorkMessage) -> None:
        """Run a shard, unless it is done or somebody else's. Never raises."""
        one = _Open()
        try:
            with self._here():
                if not self._is_ending:
                    self._run(message, one)
        except BrokerError as error:
            log.warning("%s is left for later: %s", message.name, error)
        except StorageError as error:
            if error.message != self._said:  # of a damaged plan each shard would say so
                self._said = error.message
                log.warning("%s is left for later: %s", message.name, error)
            self._withdraw(one)
        except NotFoundError as error:
            log.warning("%s is left: %s", message.name, error)
        except EngineError as error:
            log.error("%s is left for later: %s", message.name, error)  # noqa: TRY400
            self.engine_died.set()
        except Exception:
            log.exception("%s failed", message.name)

    def tick(self) -> None:
        """Tell the status_board, and stop what is to be stopped."""
        with self._lock:
            mine = dict(self._open)
        try:
            stopped = self._status_board.stop_requests(
                {message.batch_id for message in mine}
            )
            for message, one in mine.items():
                grace = stopped.get(message.batch_id)
                if grace is not None and not (grace and one.stop.requested):
                    one.stop.request(grace)
            self._tell(mine)
        except BrokerError as error:
            log.debug("no status_board can be told: %s", error)

    def drain(self, grace: float) -> None:
        """Stop everything; running requests get `grace` seconds to finish."""
        self.stop.request(grace)
        with self._lock:
            mine = list(self._open.values())
        for one in mine:
            one.stop.request(grace)

    def close(self) -> None:
        """Say that this worker is gone."""
        self.keeper.stop()
        with suppress(BrokerError):
            self._status_board.remove(self._id)

    @property
    def _is_ending(self) -> bool:
        return self.stop.requested or self.engine_died.is_set()

    def _run(self, message: WorkMessage, one: _Open) -> None:
        with self.keeper.hold(
            message.name, one.moves, lambda: one.stop.request(0)
        ) as held:
            if not held:
                return
            work = self._work(message)
            if work is None or self._status_board.stop_requests([message.batch_id]):
                return
            plan, shard = work
            one.attempt = Attempt(self._task(message, plan, one), shard)
            with self._opened(message, one):
                self._watch_cost(message, one)
                one.attempt.feed()
                with self._feeding_is_done():
                    done = one.attempt.finish()
            log.info("%s is %s", message.name, "committed" if done else "handed back")

    def _watch_cost(self, message: WorkMessage, one: _Open) -> None:
        """Have a shard stop when its batch comes to the most that it may cost.

        The dispatcher sees to it for all workers, with each sweep; until the next one
        requests that share an answer may finish by the thousand.
        """
        ledger = self._ledger(message.project)
        if ledger.batch(message.batch_id).max_cost is None:
            return
        status_board = self._status_board.shard_progress(message.batch_id)
        others = {
            shard: (told.counts, told.usage)
            for shard, told in status_board.items()
            if shard != message.shard
        }
        state = replace(ledger.state(message.batch_id), running=others)
        one.progress.on_result = partial(self._look_at_cost, ledger, state, one)

    def _look_at_cost(self, ledger: Ledger, state: State, one: _Open) -> None:
        """See what the batch costs: others as they were, this shard as it is."""
        if one.stop.requested:
            return
        price = state.require_plan().require_model().price
        done = state.counts() + one.progress.total_counts()
        used = state.usage() + one.progress.total_usage()
        in_flight = one.attempt.in_flight if one.attempt else 0
        if cost_limit_reached(state.batch, price, done, used, in_flight):
            one.stop.request(DRAIN_SECONDS)
            request_cost_cancellation(ledger, state.batch.id)

    def _withdraw(self, one: _Open) -> None:
        """Take back that an attempt died, once the storage answers again.

        Until then this counts as a shard that is here, so no other is begun.
        """
        while one.attempt and not self._is_ending:
            try:
                one.attempt.withdraw()
            except StorageError as error:
                if not error.retryable:
                    return
                time.sleep(_PAUSE)
            else:
                return

    def _work(self, message: WorkMessage) -> tuple[Plan, Shard] | None:
        """Return plan and shard, None where nothing is to be done."""
        ledger = self._ledger(message.project)
        keys = ledger.keys.batch(message.batch_id)
        plan = ledger.plan(message.batch_id)
        if plan is None or message.shard >= len(plan.shards):
            return None
        if ledger.is_committed(keys, message.shard) or ledger.outcome(message.batch_id):
            return None
        return plan, plan.shards[message.shard]

    def _task(self, message: WorkMessage, plan: Plan, one: _Open) -> BatchContext:
        ledger = self._ledger(message.project)
        return BatchContext(
            ledger=ledger,
            batch=ledger.batch(message.batch_id),
            model=plan.require_model(),
            engine=self._engine,
            stop=one.stop,
            progress=one.progress,
            max_line_bytes=plan.line_bytes,
            first_tail_shard=plan.first_tail_shard,
            checkpoint_seconds=self._settings.checkpoint_seconds,
            engine_gate=self._engine_gate,
            answer_cache=AnswerCache(enabled=self._settings.deduplicate_requests),
        )

    @contextmanager
    def _here(self) -> Iterator[None]:
        with self._lock:
            self._active_messages += 1
        try:
            yield
        finally:
            with self._lock:
                self._active_messages -= 1

    @contextmanager
    def _opened(self, message: WorkMessage, one: _Open) -> Iterator[None]:
        with self._lock:
            self._open[message] = one
        if self.stop.requested:  # it came between the two lines that look
            one.stop.request(0)
        try:
            yield
        finally:
            with self._lock:
                del self._open[message]
                self._done = _sum(self._done, one.progress)

    @contextmanager
    def _feeding_is_done(self) -> Iterator[None]:
        with self._lock:
            self._fed += 1
        self.on_room()
        try:
            yield
        finally:
            with self._lock:
                self._fed -= 1

    def _ledger(self, project: str) -> Ledger:
        with self._lock:
            if project not in self._ledgers:
                self._ledgers[project] = Ledger(self._storage, project)
            return self._ledgers[project]

    def _tell(self, mine: dict[WorkMessage, _Open]) -> None:
        running = {
            (message.batch_id, message.work): ShardProgress(
                one.progress.total_counts(),
                one.progress.total_usage(),
                in_flight=one.attempt.in_flight if one.attempt else 0,
            )
            for message, one in mine.items()
        }
        worker = WorkerStatus(
            id=self._id,
            queue=self.queue,
            model=self._model.name,
            host=self._name,
            since=self._since,
            tokens_per_second=self._speed(),
            shards=[message.name for message in mine],
        )
        self._status_board.publish(worker, running)

    def _speed(self) -> float:
        """Return the tokens generated in a second since the last look."""
        tokens = self.done()[1].output_tokens
        now = time.monotonic()
        then, before = self._told
        self._told = (now, tokens)
        return max(0.0, (tokens - before) / (now - then)) if now > then else 0.0
