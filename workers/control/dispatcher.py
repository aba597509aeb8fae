"""The dispatcher: determines, again and again, which work is due.

It is level-triggered: nothing depends on what an earlier sweep saw or sent. For each
active batch it reads the state and works out what is pending: *planned - committed -
leased - queued*. So the first run, a resume, a lost message, a dead worker and a
flushed Redis are one code path, and two dispatchers may run at the same time.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Protocol

from batchchat.jobs.errors import BatchchatError, NotFoundError
from batchchat.jobs.ids import id_created_at
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.cost_limit import drain_seconds, request_cost_cancellation
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
from batchchat.workers.control.lease_view import LeaseView
from batchchat.workers.control.outbox import Outbox
from batchchat.workers.control.queue_filler import QueueFiller, RunnableBatch
from batchchat.workers.cost_check import reaches_cost_limit
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.ledger_cache import LedgerCache

log = logging.getLogger(__name__)

_ORPHAN_SECONDS = 86_400
"""Age after which an entry of the index whose batch was never written is dropped.

The age follows from the clock of the process that made the entry, which may be hours
slow."""

_CACHE_SECONDS = 60.0
"""Time after which cached records are read again: they may be damaged by then."""

_Runnable = dict[str, list[RunnableBatch]]


class BatchIndex(Protocol):
    """The batches that a dispatcher works on."""

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield the project and the id of each batch."""
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
        monotonic = environment.monotonic
        self._environment = environment
        self._queue = queue
        self._batches = batches or ActiveIndex(environment.storage)
        self._ledgers = LedgerCache(environment.storage, environment.clock)
        self._leases = LeaseView(
            environment.leases, environment.settings.lease_seconds, monotonic
        )
        self._outbox = Outbox(queue, monotonic)
        self._filler = QueueFiller(self._leases, self._outbox)
        self._problems: dict[str, str] = {}
        self._control_queue: set[str] = set()
        self._caches_cleared_at = monotonic()

    def sweep(self) -> list[WorkMessage]:
        """Inspect all batches once; return the deliveries that are due.

        Raises `StorageError`, `BrokerError`.
        """
        self._clear_old_caches()
        self._leases.start_sweep()
        self._outbox.expire()
        self._control_queue = self._queue.waiting(CONTROL)
        deliveries: list[WorkMessage] = []
        runnable: _Runnable = defaultdict(list)
        batches = list(self._batches)
        self._ledgers.retain({project for project, _ in batches})
        for project, batch_id in batches:
            self._inspect(project, batch_id, runnable, deliveries)
        workers = Counter(w.queue for w in self._environment.status_board.workers())
        for queue, ready in runnable.items():
            self._filler.fill(queue, ready, workers[queue])
        self._filler.retain(set(runnable))
        return deliveries

    def _clear_old_caches(self) -> None:
        now = self._environment.monotonic()
        if now - self._caches_cleared_at > _CACHE_SECONDS:
            self._caches_cleared_at = now
            self._ledgers.invalidate()

    def _inspect(
        self,
        project: str,
        batch_id: str,
        runnable: _Runnable,
        deliveries: list[WorkMessage],
    ) -> None:
        """Do what one batch needs next; an error does not affect other batches."""
        try:
            self._dispatch_batch(project, batch_id, runnable, deliveries)
        except NotFoundError:
            if self._environment.clock() - id_created_at(batch_id) > _ORPHAN_SECONDS:
                self._batches.remove(project, batch_id)
        except BatchchatError as error:
            self._environment.on_failure(error)
            self._log_problem_once(batch_id, error.message)
            return
        self._problems.pop(batch_id, None)

    def _dispatch_batch(
        self,
        project: str,
        batch_id: str,
        runnable: _Runnable,
        deliveries: list[WorkMessage],
    ) -> None:
        ledger = self._ledgers.get(project)
        state = quarantine_corrupt_records(ledger, ledger.state(batch_id))
        if state.is_terminal:
            publish_results(ledger, state)
            if state.is_delivered:
                self._batches.remove(project, batch_id)
            elif is_due(state, ledger.now()):
                deliveries.append(WorkMessage(project, batch_id, DELIVER))
        elif final_status(state, ledger.now()) is not None:
            self._end(project, state)
        elif state.plan is None:
            self._send_to_controllers(WorkMessage(project, batch_id, PLAN))
        elif self._reaches_cost_limit(state):
            request_cost_cancellation(ledger, batch_id)  # the next sweep ends the batch
        else:
            queue = queue_name(state.plan.require_model())
            rules = self._environment.settings.project_rules(project)
            runnable[queue].append(RunnableBatch(project, state, rules))

    def _end(self, project: str, state: State) -> None:
        """Stop the shards of a batch; finalize it once no worker runs any of them."""
        batch_id = state.batch.id
        batch = RunnableBatch(project, state)
        if batch.pending:
            board = self._environment.status_board
            board.request_stop(batch_id, drain_seconds(state))
        shards = [batch.message(shard).name for shard in batch.pending]
        if not self._leases.held(shards):
            self._send_to_controllers(WorkMessage(project, batch_id, FINALIZE))

    def _send_to_controllers(self, message: WorkMessage) -> None:
        """Send a message to the controllers, unless one of them has it already."""
        name = message.name
        is_sent = self._outbox.is_in_transit(CONTROL, name)
        is_queued = is_sent or name in self._control_queue
        if not is_queued and not self._leases.held([name]):
            self._outbox.send(CONTROL, message)

    def _reaches_cost_limit(self, state: State) -> bool:
        """Return whether finished and running requests reach the cost limit."""
        if state.batch.max_cost is None:
            return False
        board = self._environment.status_board
        progress = {
            shard: one
            for shard, one in board.shard_progress(state.batch.id).items()
            if shard not in state.commits
        }
        done = {shard: (one.counts, one.usage) for shard, one in progress.items()}
        in_flight = sum(one.in_flight for one in progress.values())
        return reaches_cost_limit(state, done, in_flight)

    def _log_problem_once(self, batch_id: str, problem: str) -> None:
        """Log a batch's problem, unless the last sweep met the same."""
        if self._problems.get(batch_id) != problem:
            log.warning("%s: %s", batch_id, problem)
            self._problems[batch_id] = problem
