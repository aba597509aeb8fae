"""The dispatcher: works out, again and again, what is to be done next.

Level-triggered: nothing depends on what was seen or sent before. Of each batch
it asks where it stands, and what is pending is *planned - committed - leased -
queued*. So the first run, a resume, a lost message, a dead worker and a Redis
that was emptied are one code path, and two dispatchers at once do no harm.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from batchchat.jobs.errors import BatchchatError, NotFoundError
from batchchat.jobs.ids import id_created_at
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.cost_limit import (
    cost_limit_reached,
    drain_seconds,
    request_cost_cancellation,
)
from batchchat.jobs.ledger.ledger import Ledger, State
from batchchat.jobs.ledger.repair import quarantine_corrupt_records
from batchchat.jobs.ledger.resolution import final_status
from batchchat.jobs.results.delivery import is_due
from batchchat.jobs.results.finalize import publish_results
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import Storage
from batchchat.workers.broker.celery_app import Queue
from batchchat.workers.broker.leases import Leases
from batchchat.workers.broker.messages import (
    CONTROL,
    DELIVER,
    FINALIZE,
    PLAN,
    WorkMessage,
    queue_name,
)
from batchchat.workers.broker.status_board import StatusBoard

log = logging.getLogger(__name__)

_LEAST_WINDOW = 8
_A_WORKER = 4
"""Hints that wait in a model's queue, at least and for each worker.

Where workers take more of them between two sweeps, because shards are small, twice as
many wait as they took: it grows until they never wait, and holds but seconds of work.
"""

_ON_THE_WAY = 5.0
"""Seconds between a message's leaving the queue and its lease, at most."""

_ORPHAN = 86_400
"""Seconds after which an entry of the index whose batch never came is dropped.

Its age is told by the clock of who made it, which may be slow by hours."""

_LOOK_AGAIN = 60.0
"""Seconds after which nothing is taken to be as it was: it may have been damaged."""

_AT_ONCE = 64
_RANK = {"high": 0, "normal": 1, "low": 2}


@dataclass
class _Waiting:
    """A batch with shards to run; `free` are some of those that nobody has."""

    project: str
    state: State
    free: list[WorkMessage] = field(default_factory=list)

    @property
    def rank(self) -> int:
        """Its place by priority: the lowest goes first."""
        return _RANK[self.state.batch.priority]


class Dispatcher:
    """Looks at all active batches, and sends messages about what should be done."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        *,
        queue: Queue,
        leases: Leases,
        status_board: StatusBoard,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Work through the batches in `storage`."""
        self._storage = storage
        self._settings = settings
        self._queue = queue
        self._leases = leases
        self._status_board = status_board
        self._clock = clock
        self._monotonic = monotonic
        self._ledgers: dict[str, Ledger] = {}
        self._sent: dict[tuple[str, str], float] = {}
        self._seen: set[str] = set()
        self._orphans: set[str] = set()
        self._in_control: set[str] = set()
        self._ghosts: set[str] = set()
        self._ghosts_until = 0.0
        self._due: list[WorkMessage] = []
        self._given: dict[str, set[str]] = {}
        self._problems: dict[str, str] = {}
        self._looked = monotonic()

    def sweep(self) -> list[WorkMessage]:
        """Look at everything once; return the batches that are to be delivered now.

        Raises `StorageError`, `BrokerError`.
        """
        self._begin()
        self._due = []
        waiting: dict[str, list[_Waiting]] = defaultdict(list)
        active = ActiveIndex(self._storage)
        batches = list(active)
        self._forget_all_but({project for project, _ in batches})
        for project, batch_id in batches:
            try:
                self._look(project, batch_id, waiting)
            except NotFoundError:
                if self._clock() - id_created_at(batch_id) > _ORPHAN:
                    active.remove(project, batch_id)
                self._note(batch_id, None)
            except BatchchatError as error:
                self._note(batch_id, error.message)
        workers = Counter(worker.queue for worker in self._status_board.workers())
        for queue, ready in waiting.items():
            self._top_up(queue, ready, workers[queue])
        self._given = {queue: self._given[queue] for queue in waiting}
        return self._due

    def _begin(self) -> None:
        """Believe in the leases that were there when Redis was emptied.

        Their holders take them again; until they have had the time to, nobody
        else is sent to their shards.
        """
        now = self._monotonic()
        if self._leases.detect_flush():
            self._ghosts = self._seen
            self._ghosts_until = now + self._settings.lease_seconds
        elif now >= self._ghosts_until:
            self._ghosts = set()
        if now - self._looked > _LOOK_AGAIN:
            self._looked = now
            for ledger in self._ledgers.values():
                ledger.invalidate_caches()
        self._orphans = self._seen
        self._seen = set()
        self._in_control = self._queue.waiting(CONTROL)
        self._sent = {
            sent: at for sent, at in self._sent.items() if now - at < _ON_THE_WAY
        }

    def _look(
        self, project: str, batch_id: str, waiting: dict[str, list[_Waiting]]
    ) -> None:
        """Do what one batch needs next."""
        ledger = self._ledger(project)
        state = quarantine_corrupt_records(ledger, ledger.state(batch_id))
        how = final_status(state, ledger.now())
        if state.is_terminal:
            publish_results(ledger, state)
            if state.is_delivered:
                ActiveIndex(self._storage).remove(project, batch_id)
            elif is_due(state, ledger.now()):
                self._due.append(WorkMessage(project, batch_id, DELIVER))
        elif how is not None:
            if state.pending():
                self._status_board.request_stop(batch_id, drain_seconds(state))
            if not self._is_running(project, state):
                self._control(WorkMessage(project, batch_id, FINALIZE))
        elif state.plan is None:
            self._control(WorkMessage(project, batch_id, PLAN))
        elif self._costs_enough(state):
            request_cost_cancellation(ledger, batch_id)  # so that the next look ends it
        else:
            queue = queue_name(state.plan.require_model())
            waiting[queue].append(_Waiting(project, state))

    def _note(self, batch_id: str, problem: str | None) -> None:
        """Say what is wrong with a batch once, not with each sweep."""
        if problem is not None and self._problems.get(batch_id) != problem:
            log.warning("%s: %s", batch_id, problem)
            self._problems[batch_id] = problem
        elif problem is None:
            self._problems.pop(batch_id, None)

    def _costs_enough(self, state: State) -> bool:
        """Say whether what is done and what runs comes to the most it may cost."""
        if state.batch.max_cost is None:
            return False
        status_board = self._status_board.shard_progress(state.batch.id)
        running = {
            shard: (one.counts, one.usage) for shard, one in status_board.items()
        }
        state = replace(state, running=running)
        return cost_limit_reached(
            state.batch,
            state.require_plan().require_model().price,
            state.counts(),
            state.usage(),
            sum(
                n.in_flight
                for shard, n in status_board.items()
                if shard not in state.commits
            ),
        )

    def _is_running(self, project: str, state: State) -> bool:
        """Say whether a worker still has a shard of the batch."""
        names = [
            WorkMessage.for_shard(project, state.batch.id, shard).name
            for shard in state.pending()
        ]
        return bool(self._held(names))

    def _control(self, message: WorkMessage) -> None:
        """Have a controller do something, unless one does already."""
        is_sent = (CONTROL, message.name) in self._sent
        if (
            not is_sent
            and message.name not in self._in_control
            and not self._held([message.name])
        ):
            self._send(CONTROL, message)

    def _top_up(self, queue: str, batches: list[_Waiting], workers: int) -> None:
        """Fill the window of a model's queue, which has so many workers.

        Of the batches with the highest priority the one goes first whose project
        has the fewest shards on the workers; of a project's batches the oldest.
        """
        self._send_orphans(queue, batches)
        self._forget_arrived(queue, batches)
        on_the_way = self._on_the_way(queue)
        taken = len(self._given.get(queue, set()) - on_the_way)
        window = max(_LEAST_WINDOW, _A_WORKER * workers, 2 * taken)
        space = window - len(on_the_way)
        busy = Counter(WorkMessage.parse(name).project for name in on_the_way)
        for batch in batches:
            busy[batch.project] += self._find_free(batch, on_the_way, space)
        while space > 0 and (batches := [batch for batch in batches if batch.free]):
            first = min(
                batches, key=lambda b: (b.rank, busy[b.project], b.state.batch.id)
            )
            message = first.free.pop(0)
            self._send(queue, message)
            on_the_way.add(message.name)
            busy[first.project] += 1
            space -= 1
        self._given[queue] = on_the_way

    def _send_orphans(self, queue: str, batches: list[_Waiting]) -> None:
        """Send what has lost its worker before all else: much of it may be done."""
        pending = {
            WorkMessage.for_shard(batch.project, batch.state.batch.id, shard).name
            for batch in batches
            for shard in batch.state.pending()
        }
        names = pending & self._orphans
        names -= self._held(list(names)) | self._on_the_way(queue)
        for name in sorted(names, reverse=True):
            self._send(queue, WorkMessage.parse(name), to_front=True)

    def _forget_arrived(self, queue: str, batches: list[_Waiting]) -> None:
        """Count on the way no more what has a lease, or is done already."""
        sent = [name for to, name in self._sent if to == queue]
        pending = {batch.state.batch.id: {*batch.state.pending()} for batch in batches}
        arrived = self._held(sent)
        for message in map(WorkMessage.parse, sent):
            if message.name in arrived or message.shard not in pending.get(
                message.batch_id, ()
            ):
                del self._sent[queue, message.name]

    def _find_free(self, batch: _Waiting, taken: set[str], most: int) -> int:
        """Find up to `most` shards that nobody has; return how many are leased."""
        batch_id, leased = batch.state.batch.id, 0
        pending = batch.state.pending()
        for at in range(0, len(pending), _AT_ONCE):
            some = [
                WorkMessage.for_shard(batch.project, batch_id, shard)
                for shard in pending[at : at + _AT_ONCE]
            ]
            held = self._held([message.name for message in some])
            leased += len(held)
            batch.free += [h for h in some if h.name not in held | taken]
            if len(batch.free) >= most:
                break
        return leased

    def _held(self, names: list[str]) -> set[str]:
        held = self._leases.held(names) | (self._ghosts & set(names))
        self._seen |= held
        return held

    def _on_the_way(self, queue: str) -> set[str]:
        """Return the names of what waits in a queue, or has just been sent to it."""
        sent = {name for to, name in self._sent if to == queue}
        return sent | self._queue.waiting(queue)

    def _send(
        self, queue: str, message: WorkMessage, *, to_front: bool = False
    ) -> None:
        self._queue.send(queue, message, to_front=to_front)
        self._sent[queue, message.name] = self._monotonic()

    def _forget_all_but(self, projects: set[str]) -> None:
        """Let go of the plans and commits of projects that have nothing to do."""
        for project in self._ledgers.keys() - projects:
            del self._ledgers[project]

    def _ledger(self, project: str) -> Ledger:
        if project not in self._ledgers:
            self._ledgers[project] = Ledger(self._storage, project, self._clock)
        return self._ledgers[project]
