"""Several engines on one machine, each in a process of its own.

All take shards from the queues of one broker. An engine whose process dies is started
again while the others continue; each has its own budget of restarts.
"""

import logging
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, reduce
from itertools import count
from math import ceil
from threading import Event, Lock, Thread

from typing_extensions import override

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.engine.protocol import EngineActivity
from batchchat.jobs.errors import EngineDeadError, EngineError
from batchchat.jobs.execution.progress import EngineProgress
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.engine.engine_slots import EngineSlot
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.local.engine_calls import CallServer
from batchchat.workers.local.engine_launch import EngineHandle, PoolConfig
from batchchat.workers.local.engine_process import EngineProcessConfig
from batchchat.workers.local.engine_session import NO_WORK, EngineReport, EngineSession
from batchchat.workers.local.engines import Engines
from batchchat.workers.local.in_process_broker import InProcessBroker
from batchchat.workers.shards.open_attempts import WorkDone

log = logging.getLogger(__name__)

_MAX_DEATHS = 8
"""Consecutive deaths of a process without a result after which it is given up.

Fewer are enough to find a request that kills the engine."""

_DIED = "engine died"
_BACKOFF = Backoff(first=1.0, longest=30.0)
_CLOSE_MARGIN_SECONDS = 20.0
"""Time that the end of a process may take in addition to the grace period."""


@dataclass
class _Engine:
    """One engine, and the sums of its earlier processes."""

    slot: EngineSlot
    state: str = "starting"
    session: EngineSession | None = None
    failure: BaseException | None = None
    deaths: int = 0
    committed: WorkDone = NO_WORK
    work: WorkDone = NO_WORK
    is_given_up: bool = False

    @property
    def report(self) -> EngineReport:
        """What its process has reported last."""
        return self.session.current if self.session else EngineReport()

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"engine {self.slot.number}"


class EnginePool(Engines):
    """Keeps one process for each engine, from threads of its own."""

    def __init__(
        self,
        environment: WorkerEnvironment,
        broker: InProcessBroker,
        config: PoolConfig,
        *,
        on_loaded: Callable[[WorkMessage], object] = lambda _: None,
        on_low_queue: Callable[[], object] = lambda: None,
    ) -> None:
        """Run the messages of `broker`; for the others see `EngineLoop`."""
        self._environment = environment
        self._broker = broker
        self._config = config
        self._on_loaded = on_loaded
        self._on_low_queue = on_low_queue
        self._engines = [_Engine(slot) for slot in config.slots]
        self._sessions: dict[int, EngineSession] = {}
        self._numbers = count()
        self._shown: set[str] = set()
        self._closing = Event()
        self._drain_seconds = 0.0
        self._lock = Lock()

    @property
    @override
    def loaded_models(self) -> list[str]:
        models = [engine.report.model for engine in self._engines]
        return [model for model in models if model]

    @override
    def run(self) -> None:
        """Keep the engines running until `close` is called, or all are given up.

        A process dies with the thread that started it, which waits for its end.
        """
        self._environment.progress.phase = "loading"
        calls = CallServer(self._sessions.__getitem__)
        keepers = [
            Thread(target=self._keep, args=(engine, calls), name=engine.name)
            for engine in self._engines
        ]
        for keeper in keepers:
            keeper.start()
        for keeper in keepers:
            keeper.join()
        calls.close()
        if not self._closing.is_set():
            failures = [it.failure for it in self._engines if it.failure]
            self._environment.on_failure(failures[0])

    @override
    def close(self, drain_seconds: float) -> None:
        self._drain_seconds = drain_seconds
        self._closing.set()
        self._broker.close()
        for engine in self._engines:
            self._close_session(engine)

    @override
    def activity(self) -> EngineActivity | None:
        found = [it.report.activity for it in self._engines if it.report.activity]
        return reduce(_add, found) if found else None

    @override
    def results(self) -> WorkDone:
        with self._lock:
            sums = [it.committed.plus(it.report.results) for it in self._engines]
        return reduce(WorkDone.plus, sums, NO_WORK)

    @override
    def work_done(self) -> WorkDone:
        with self._lock:
            sums = [it.work.plus(it.report.work_done) for it in self._engines]
        return reduce(WorkDone.plus, sums, NO_WORK)

    @override
    def progress(self) -> list[EngineProgress]:
        found = [self._progress_of(engine) for engine in self._engines]
        shown, steps = (
            self._environment.progress,
            [it.report.step for it in self._engines],
        )
        if shown.phase == "checking" and any(steps):
            shown.phase = "loading"
        shown.loading_step = next(filter(None, steps), "")
        return found

    def _progress_of(self, engine: _Engine) -> EngineProgress:
        report = engine.report
        state = "" if report.model else engine.state
        if report.waiting_reason:
            state = "waiting for the storage"
        elif report.step:
            state = f"loading: {report.step}"
        return EngineProgress(
            number=engine.slot.number,
            place=engine.slot.place,
            state=state,
            running=report.activity.running if report.activity else 0,
            tokens_per_second=report.tokens_per_second,
        )

    def _keep(self, engine: _Engine, calls: CallServer) -> None:
        """Start a process whenever there is none, until the end."""
        while not (self._closing.is_set() or engine.is_given_up):
            engine.failure = None
            status = self._run_process(engine, calls)
            if self._closing.is_set():
                return
            self._note_death(engine, status)

    def _run_process(self, engine: _Engine, calls: CallServer) -> int:
        """Run a process of the engine to its end; return its exit status."""
        session = self._make_session(engine)
        number = next(self._numbers)
        self._sessions[number] = session
        engine.session, engine.state = session, "starting"
        config = EngineProcessConfig(
            parent=os.getpid(),
            address=calls.address,
            session=number,
            settings=self._environment.settings,
            engine=dict(self._config.engine),
            storage_timeout=self._environment.settings.retry_timeout_seconds
            if self._config.gives_up
            else self._environment.storage_timeout,
            log=self._config.log(engine.slot.number),
            cores=engine.slot.cores,
        )
        process = self._config.launch(config, engine.slot)
        if self._closing.is_set():  # it was closed while there was no process
            self._close_session(engine)
        status = self._wait(process, engine)
        session.end()
        del self._sessions[number]
        with self._lock:
            engine.committed = engine.committed.plus(session.current.committed)
            engine.work = engine.work.plus(session.current.work_done)
            engine.session = None
        if session.current.work_done.generated.total:
            engine.deaths = 0
        return status

    def _wait(self, process: EngineHandle, engine: _Engine) -> int:
        """Wait for the end of a process; kill it if it does not end when it should.

        A process that loads a model has nothing to hand back, and is not waited for.
        """
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(0.5)
            if self._closing.is_set():
                if engine.report.model is None:
                    process.kill()
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(self._drain_seconds + _CLOSE_MARGIN_SECONDS)
                log.error("an engine does not end: killing it")
                process.kill()

    def _make_session(self, engine: _Engine) -> EngineSession:
        environment = self._environment
        return EngineSession(
            self._broker,
            on_failure=environment.on_failure,
            on_unusable=partial(self._on_unusable, engine),
            on_loaded=self._on_loaded,
            on_low_queue=self._on_low_queue,
            on_notice=partial(self._notice, engine),
            max_shards=self._max_shards,
        )

    def _max_shards(self) -> int | None:
        """Return an engine's share of the shards that a single batch has left.

        An engine holds twice the requests that it computes. Without a limit, the first
        one that is loaded would take a small batch as a whole.
        """
        progress = self._environment.progress
        left = progress.total - sum(progress.total_counts().done())
        if not self._config.gives_up or left <= 0:
            return None
        shards = ceil(left / self._environment.settings.shard_requests)
        usable = sum(not engine.is_given_up for engine in self._engines)
        return ceil(shards / max(1, usable))

    def _on_unusable(self, engine: _Engine, error: BaseException) -> None:
        """End a process whose engine cannot run, unless it is to try again."""
        if self._config.gives_up:
            engine.failure = error
            self._close_session(engine)
        else:
            engine.state = "cannot run; trying again"

    def _close_session(self, engine: _Engine) -> None:
        session = engine.session
        if session is not None:
            session.close(self._drain_seconds)

    def _note_death(self, engine: _Engine, status: int) -> None:
        """Restart an engine whose process died, or leave it out.

        An engine that does not start is tried again only if it has run before: the
        memory that it had may not be free yet.
        """
        failure, has_run = (
            engine.failure,
            bool(engine.deaths or engine.work.generated.total),
        )
        reason = failure or EngineDeadError(f"the engine's process {_ending(status)}")
        engine.deaths += 1
        is_final = failure is not None and not (
            has_run and isinstance(failure, EngineError)
        )
        if self._config.gives_up and (is_final or engine.deaths >= _MAX_DEATHS):
            self._give_up(engine, reason)
            return
        engine.state = "restarting"
        self._notice(
            engine,
            f"{_DIED} ({_reason_of(reason)}); restarting,"
            f" {engine.deaths} of {_MAX_DEATHS}",
        )
        if engine.deaths > 1 or failure is not None:
            self._closing.wait(_BACKOFF.seconds(engine.deaths))

    def _give_up(self, engine: _Engine, reason: BaseException) -> None:
        engine.failure, engine.is_given_up, engine.state = reason, True, "cannot run"
        if not all(it.is_given_up for it in self._engines):
            text = f"{engine.name} cannot run ({_reason_of(reason)}); others continue"
            self._notice(engine, text)

    def _notice(self, engine: _Engine, text: str) -> None:
        """Show what concerns one engine, or once what several of them notice."""
        if text.startswith(_DIED):
            text = f"{engine.name} {text.removeprefix('engine ')}"
        elif text in self._shown:
            return
        self._shown.add(text)
        log.warning("%s", text)
        self._environment.progress.notices.append(text)


def _add(one: EngineActivity, other: EngineActivity) -> EngineActivity:
    idle = [it.idle_seconds for it in (one, other) if it.idle_seconds is not None]
    return EngineActivity(
        one.steps + other.steps,
        one.generated_tokens + other.generated_tokens,
        one.unfinished_tokens + other.unfinished_tokens,
        one.running + other.running,
        one.waiting + other.waiting,
        min(idle, default=None),
    )


def _reason_of(error: BaseException) -> str:
    return getattr(error, "reason", "") or str(error)


def _ending(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"exited with {status}"
