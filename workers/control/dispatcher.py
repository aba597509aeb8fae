"""The dispatcher: determines, again and again, which work is due.

It is level-triggered: nothing depends on what an earlier sweep saw or sent. For each
active batch it knows the state and works out what is pending: *planned - committed -
leased - queued*. So the first run, a resume, a lost message, a dead worker and a
flushed Redis are one code path, and two dispatchers may run at the same time.

A sweep reads the batches that may have changed, several at a time, and then decides
for all batches, which needs Redis alone. So what is wrong with one batch in the storage
affects no other. Between two sweeps `top_up` fills the queues.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol

from batchchat.jobs.errors import BatchchatError, NotFoundError
from batchchat.jobs.ids import id_created_at
from batchchat.jobs.ledger.active_index import ActiveIndex, IndexEntry
from batchchat.jobs.ledger.cost_limit import drain_seconds, request_cost_cancellation
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.repair import quarantine_corrupt_records
from batchchat.jobs.ledger.resolution import final_status
from batchchat.jobs.ledger.state import State
from batchchat.jobs.results.delivery import is_due
from batchchat.jobs.results.finalize import publish_results
from batchchat.workers.broker.messages import (
    CONTROL,
    DELIVER,
    FINALIZE,
    PLAN,
    Queue,
    WorkMessage,
    queue_name,
)
from batchchat.workers.concurrently import map_concurrently
from batchchat.workers.control.batch_watch import BatchWatch
from batchchat.workers.control.lease_view import LeaseView
from batchchat.workers.control.outbox import Outbox
from batchchat.workers.control.queue_filler import QueueFiller
from batchchat.workers.control.runnable_batch import RunnableBatch
from batchchat.workers.cost_check import CostChecks
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.ledger_cache import LedgerCache

log = logging.getLogger(__name__)

_ORPHAN_SECONDS = 86_400
"""Age after which an entry of the index whose batch was never written is dropped.

The age follows from the clock of the process that made the entry, which may be hours
slow."""

_CACHE_SECONDS = 60.0
"""Time after which cached records are read again: they may be damaged by then."""

_DENIED_SECONDS = 60.0
"""Time between two attempts to plan or end a batch that may not be read."""

_MAX_PUBLISHED_PROBLEMS = 100
_CONCURRENT_READS = 32
"""Batches that a sweep reads at the same time."""

_MAX_CONTROL_WORK_OF_PROJECT = 64
"""Batches of a project that controllers plan or end, or are asked to, at a time."""

_Runnable = dict[str, list[RunnableBatch]]


class BatchIndex(Protocol):
    """The batches that a dispatcher works on."""

    def entries(self) -> Iterator[IndexEntry]:
        """Yield each batch; its version changes when its records should be read."""
        ...

    def remove(self, project: str, batch_id: str) -> None:
        """Remove a batch that needs no more work."""
        ...


class Dispatcher:
    """Inspects all active batches, and sends messages about the work that is due."""

    def __init__(
        self,
        environment: WorkerEnvironment,
        queue: Queue,
        batches: BatchIndex | None = None,
    ) -> None:
        """Work on `batches`; by default on all active batches of the storage."""
        monotonic, settings = environment.monotonic, environment.settings
        self._environment = environment
        self._queue = queue
        self._batches = batches or ActiveIndex(environment.storage)
        self._ledgers = LedgerCache(environment.storage, environment.clock)
        self._leases = LeaseView(environment.leases, settings.lease_seconds, monotonic)
        self._outbox = Outbox(queue, monotonic)
        self._filler = QueueFiller(self._leases, self._outbox, monotonic)
        self._watch = BatchWatch(settings.controller_interval_seconds)
        self._costs = CostChecks(monotonic)
        self._problems: dict[str, str] = {}
        self._denied: dict[str, tuple[float, str]] = {}
        self._runnable: _Runnable = {}
        self._workers: Counter[str] = Counter()
        self._control_queue: set[str] = set()
        self._caches_cleared_at = monotonic()
        self.is_idle = False
        """Whether the last sweep found no batch."""

    def sweep(self) -> list[WorkMessage]:
        """Inspect all batches once; return the deliveries that are due.

        Raises `StorageError`, `BrokerError`.
        """
        self._clear_old_caches()
        self._leases.start_sweep()
        self._outbox.expire()
        self._control_queue = self._queue.waiting(CONTROL)
        entries = list(self._batches.entries())
        self.is_idle = not entries
        self._retain(entries)
        entries = self._watch.choose(entries)
        deliveries = self._read_due(entries)
        self._runnable = self._dispatch(entries)
        self._note_workers()
        for queue, ready in self._runnable.items():
            self._filler.fill(queue, ready, self._workers[queue])
        self._filler.retain(set(self._runnable))
        return deliveries

    def _note_workers(self) -> None:
        """Count the workers that can work, and note the batches they may not read."""
        workers = self._environment.status_board.workers()
        self._workers = Counter(it.queue for it in workers if not it.storage_problem)
        denied = {it.batch_id for worker in workers for it in worker.batch_problems}
        for batches in self._runnable.values():
            for batch in batches:
                batch.is_denied = batch.state.batch.id in denied

    @property
    def problems(self) -> dict[str, str]:
        """Why some batches could not be read, by their id."""
        denied = {batch_id: text for batch_id, (_, text) in list(self._denied.items())}
        problems = (denied | self._problems).items()
        return dict(islice(problems, _MAX_PUBLISHED_PROBLEMS))

    def note_denied(self, batch_id: str, problem: str | None) -> None:
        """Send no work on a batch to controllers for a while: they may not read it.

        None ends that, because the work succeeded.
        """
        self._denied.pop(batch_id, None)
        if problem is not None:
            until = self._environment.monotonic() + _DENIED_SECONDS
            self._denied[batch_id] = until, problem

    def top_up(self) -> None:
        """Fill the queues from what the last sweep has found. Raises `BrokerError`."""
        for queue, ready in self._runnable.items():
            self._filler.top_up(queue, ready, self._workers[queue])

    def ledger(self, project: str) -> Ledger:
        """Return the ledger of a project, which caches what was read."""
        return self._ledgers.get(project)

    def paced_ledger(self, project: str, pause: Callable[[], object]) -> Ledger:
        """Return a ledger that calls `pause` before each piece of data it reads."""
        return self._ledgers.paced(project, pause)

    def touch(self, batch_id: str) -> None:
        """Have the next sweep read a batch, because this process has changed it."""
        self._watch.touch(batch_id)

    def remove_ended(self, state: State) -> None:
        """Remove a batch that has ended from the index, unless it is to be delivered.

        Raises `StorageError`.
        """
        if state.is_terminal and state.is_delivered:
            self._batches.remove(state.batch.project, state.batch.id)

    def _clear_old_caches(self) -> None:
        now = self._environment.monotonic()
        if now - self._caches_cleared_at > _CACHE_SECONDS:
            self._caches_cleared_at = now
            self._ledgers.invalidate()

    def _retain(self, entries: list[IndexEntry]) -> None:
        """Forget all batches but these."""
        self._ledgers.retain({entry.project for entry in entries})
        ids = {entry.batch_id for entry in entries}
        self._problems = {k: v for k, v in list(self._problems.items()) if k in ids}
        self._denied = {k: v for k, v in list(self._denied.items()) if k in ids}

    def _read_due(self, entries: list[IndexEntry]) -> list[WorkMessage]:
        """Read the batches that may have changed; return the deliveries due."""
        environment = self._environment
        now, time = environment.monotonic(), int(environment.clock())
        taken = map(WorkMessage.parse, self._filler.taken())
        busy = {message.batch_id for message in taken if message}
        due = self._watch.due(entries, busy, now, time)
        states = map_concurrently(self._read, due, _CONCURRENT_READS)
        return [
            WorkMessage(state.batch.project, state.batch.id, DELIVER)
            for state in states
            if state is not None and state.is_terminal and is_due(state, time)
        ]

    def _read(self, entry: IndexEntry) -> State | None:
        """Read the state of one batch; an error does not affect other batches."""
        if not self._watch.has_room(entry.batch_id):
            return None
        environment = self._environment
        state, began, time = None, environment.monotonic(), int(environment.clock())
        try:
            state = self._read_state(entry.project, entry.batch_id)
        except NotFoundError:
            age = environment.clock() - id_created_at(entry.batch_id)
            if age > _ORPHAN_SECONDS:
                self._batches.remove(entry.project, entry.batch_id)
        except BatchchatError as error:
            environment.on_failure(error)
            text = f"{error.message}; {error.hint}" if error.hint else error.message
            self._log_problem_once(entry.batch_id, text)
            if error.retryable:
                self.touch(entry.batch_id)
                return None
        except Exception as error:
            environment.on_failure(error)
            log.exception("%s cannot be read", entry.batch_id)
        else:
            self._problems.pop(entry.batch_id, None)
        self._watch.record(entry, state, began, time)
        return state

    def _read_state(self, project: str, batch_id: str) -> State:
        """Return the state of a batch; publish and remove it if it has ended.

        If it reaches its cost limit, request its cancellation.
        """
        ledger = self._ledgers.get(project)
        state = ledger.state(batch_id, by_listing=True)
        state = quarantine_corrupt_records(ledger, state)
        if self._is_running(state) and self._costs.reaches_limit(ledger, state):
            request_cost_cancellation(ledger, batch_id)
            state = ledger.state(batch_id)
        if state.is_terminal:
            publish_results(ledger, state)
            self.remove_ended(state)
        return state

    def _dispatch(self, entries: list[IndexEntry]) -> _Runnable:
        """Send what controllers have to do; return the batches with shards to run."""
        runnable: _Runnable = defaultdict(list)
        control: list[WorkMessage] = []
        for project, batch_id, _ in entries:
            state, read_at, time = self._watch.last_read(batch_id)
            if state is None or state.is_terminal:
                continue
            if final_status(state, time) is not None:
                if self._is_stopped(project, state):
                    control.append(WorkMessage(project, batch_id, FINALIZE))
            elif state.plan is None:
                control.append(WorkMessage(project, batch_id, PLAN))
            else:
                queue = queue_name(state.plan.require_model())
                rules = self._environment.settings.project_rules(project)
                batch = RunnableBatch(project, state, rules, read_at)
                runnable[queue].append(batch)
        self._send_to_controllers(control)
        return runnable

    def _is_running(self, state: State) -> bool:
        """Return whether a batch may have running shards and need not end."""
        now = int(self._environment.clock())
        return bool(state.pending()) and final_status(state, now) is None

    def _is_stopped(self, project: str, state: State) -> bool:
        """Stop the shards of a batch; return whether no worker runs any of them."""
        batch = RunnableBatch(project, state)
        if batch.pending:
            board = self._environment.status_board
            board.request_stop(state.batch.id, drain_seconds(state))
        shards = [batch.message(shard).name for shard in batch.pending]
        return not self._leases.held(shards)

    def _send_to_controllers(self, messages: list[WorkMessage]) -> None:
        """Send the messages that no controller has, the oldest of each project first.

        Only some of a project's are sent, so that no project waits for all of another.
        """
        held = self._leases.held([message.name for message in messages])
        outstanding = held | self._control_queue | {*self._outbox.sent(CONTROL)}
        sent = Counter(m.project for m in messages if m.name in outstanding)
        now = self._environment.monotonic()
        for message in sorted(messages, key=lambda message: message.batch_id):
            denied_until, _ = self._denied.get(message.batch_id, (0.0, ""))
            is_due = message.name not in outstanding and now >= denied_until
            if is_due and sent[message.project] < _MAX_CONTROL_WORK_OF_PROJECT:
                sent[message.project] += 1
                self._outbox.send(CONTROL, message)

    def _log_problem_once(self, batch_id: str, problem: str) -> None:
        """Log a batch's problem, unless the last sweep met the same."""
        if self._problems.get(batch_id) != problem:
            log.warning("%s: %s", batch_id, problem)
            self._problems[batch_id] = problem
