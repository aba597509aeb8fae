"""The live status of a cluster, for its clients."""

import logging
from collections.abc import Collection, Iterable
from dataclasses import replace
from threading import Semaphore

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.errors import BrokerError
from batchchat.jobs.ledger.state import State
from batchchat.workers.broker.announcements import Announcements
from batchchat.workers.broker.messages import CONTROL, queue_name
from batchchat.workers.broker.redis_check import check_writable
from batchchat.workers.broker.redis_client import open_redis
from batchchat.workers.broker.status_board import RedisStatusBoard, WorkerStatus

log = logging.getLogger(__name__)

_CONCURRENT_ANNOUNCEMENTS = 4

START_CONTROLLER = "see its log, or start one with `batchchat controller`"
"""What to do if no controller reports: one may run that cannot reach Redis."""


def workers_of(model: Model, workers: Iterable[WorkerStatus]) -> list[WorkerStatus]:
    """Return those workers that run a model and can use the storage."""
    queue = queue_name(model)
    return [it for it in workers if it.queue == queue and not it.storage_problem]


def missing_process(
    model: Model | None, workers: Collection[WorkerStatus]
) -> str | None:
    """Return what a batch of `model` lacks to make progress, None if nothing.

    `model` is None if it is not known yet.
    """
    controllers = [worker for worker in workers if worker.queue == CONTROL]
    if not controllers:
        return f"no controller reports to Redis; {START_CONTROLLER}"
    if all(controller.storage_problem for controller in controllers):
        return storage_problem(controllers)
    if model is not None and not workers_of(model, workers):
        queue = queue_name(model)
        idle = storage_problem(worker for worker in workers if worker.queue == queue)
        return idle or (
            f"no worker reports that it runs `{model.name}`; start one with"
            f" `batchchat worker --model {model.name}`"
        )
    return None


def storage_problem(workers: Iterable[WorkerStatus]) -> str | None:
    """Return which of the processes may not use the storage, and why; None if all may.

    Only the first problem is described.
    """
    stopped = [worker for worker in workers if worker.storage_problem]
    if not stopped:
        return None
    names = ", ".join(
        f"{'controller' if it.queue == CONTROL else 'worker'} on {it.host or '?'}"
        for it in stopped
    )
    return f"{names}: no access to the storage: {stopped[0].storage_problem}"


def batch_problem(batch_id: str, workers: Iterable[WorkerStatus]) -> str | None:
    """Return why a worker or a controller cannot read a batch; None if all can."""
    for worker in workers:
        kind = "controller" if worker.queue == CONTROL else "worker"
        for found in worker.batch_problems:
            if found.batch_id == batch_id:
                where = f"the {kind} on {worker.host or '?'}"
                return f"{where} cannot read it: {found.problem}"
    return None


class ClusterStatus:
    """The status board of one cluster."""

    def __init__(self, broker: str) -> None:
        """Read from the Redis at `broker`. Raises `ConfigError`."""
        self._redis = open_redis(broker)
        self._board = RedisStatusBoard(self._redis)
        self._announcements = Announcements(self._redis)
        self._announcing = Semaphore(_CONCURRENT_ANNOUNCEMENTS)

    def announce(self) -> None:
        """Have the controllers look for new or cancelled batches now, if Redis works.

        If several calls already wait for Redis, nothing is done.
        """
        if self._announcing.acquire(blocking=False):
            try:
                self._announcements.announce()
            except BrokerError as error:
                log.debug("the controllers get no announcement: %s", error)
            finally:
                self._announcing.release()

    def with_progress(self, state: State) -> State:
        """Return the state of a batch, including the results of its open shards."""
        if state.is_terminal or state.plan is None:
            return state
        try:
            shards = self._board.shard_progress(state.batch.id)
        except BrokerError:
            return state
        sizes = {shard.index: shard.requests for shard in state.plan.shards}
        running = {
            number: (one.counts, one.usage)
            for number, one in shards.items()
            if sum(one.counts.done()) <= sizes.get(number, -1)
        }
        return replace(state, running=running)

    def workers(self) -> list[WorkerStatus]:
        """Return all running workers and controllers.

        Raises:
            BrokerError: Redis is not available, or no controller reports because it
                accepts no writes.

        """
        found = self._board.workers()
        if all(worker.queue != CONTROL for worker in found):
            check_writable(self._redis)
        return found
