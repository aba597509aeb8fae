"""A worker process: one engine, loaded first, then shards until it is told to end."""

import logging
import os
import socket
import time
from threading import Thread
from uuid import uuid4

from celery.signals import worker_shutting_down

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.errors import BrokerError
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import Storage
from batchchat.workers.broker.celery_app import (
    CeleryQueue,
    Consumer,
    make_app,
    stop_worker,
)
from batchchat.workers.broker.leases import RedisLeases
from batchchat.workers.broker.redis_client import open_redis
from batchchat.workers.broker.status_board import RedisStatusBoard
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.engine.hang_detector import HangDetector
from batchchat.workers.shards.exit_codes import BROKER_UNRESPONSIVE, ENGINE_DEAD
from batchchat.workers.shards.shard_host import ShardHost

log = logging.getLogger(__name__)

_THREADS = 32
"""Shards that may wait for their last answers at once."""

_SILENT = 60.0
"""Seconds of idleness beside a full queue after which the connection is taken for dead.

It can be half open: everything looks well, and nothing arrives."""

_PATIENCE = 10.0
"""Seconds that an orderly end may take beyond the grace."""


class Worker:
    """Runs shards of one model until a signal, its engine's death, or silence."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        broker: str,
        model: Model,
        engine: EngineDriver,
    ) -> None:
        """Take shards from the Redis at `broker`."""
        self._settings = settings
        self._app = make_app(broker)
        self._engine = engine
        self._hang_watch = HangDetector(engine, settings.stall_seconds)
        redis = open_redis(broker)
        leases = RedisLeases(redis, uuid4().hex, settings.lease_seconds)
        self._host = ShardHost(
            storage,
            settings,
            model,
            engine,
            leases=leases,
            status_board=RedisStatusBoard(redis),
            name=socket.gethostname(),
        )
        self._queue = CeleryQueue(self._app, redis)
        self._consumer = Consumer(
            self._app,
            self._host.queue,
            self._host.run,
            threads=_THREADS,
            has_room=self._host.has_room,
        )
        self._host.on_room = self._consumer.wake
        self._busy_at = time.monotonic()
        self._ending = False

    def run(self) -> int:
        """Return the exit status when all is handed back."""
        worker_shutting_down.connect(self._shut_down, weak=False)
        self._host.keeper.start(self._look)
        log.info("ready for shards from %s", self._host.queue)
        try:
            return self._consumer.consume()
        finally:
            self._host.close()
            self._engine.close()

    def _shut_down(self, **_: object) -> None:
        """Have running requests finish, for as long as the grace lasts."""
        log.info("ending: running requests get %gs", self._settings.grace_seconds)
        self._end(0, self._settings.grace_seconds)

    def _look(self) -> None:
        self._host.tick()
        if self._ending:
            return
        if self._hang_watch.is_hung():
            self._engine.abandon("the engine hangs")  # its marks say what it had
        if self._host.engine_died.is_set() or not self._engine.is_alive:
            log.error("the engine died or hangs: this worker ends")
            self._end(ENGINE_DEAD, 0)
        elif self._broker_is_silent():
            log.error("the queue is full and nothing arrives: this worker ends")
            self._end(BROKER_UNRESPONSIVE, 0)

    def _end(self, code: int, grace: float) -> None:
        """End in order; if that takes too long, at once."""
        self._ending = True
        self._host.drain(grace)
        if code:
            stop_worker(code)

        def insist() -> None:
            time.sleep(grace + _PATIENCE)
            log.error("the end takes too long: killed")
            os._exit(code or ENGINE_DEAD)

        Thread(target=insist, name="insist", daemon=True).start()

    def _broker_is_silent(self) -> bool:
        """Say whether nothing was taken for long from a queue that had something."""
        now = time.monotonic()
        if self._host.is_busy or not self._anything_waits():
            self._busy_at = now
        return now - self._busy_at > _SILENT

    def _anything_waits(self) -> bool:
        try:
            return bool(self._queue.waiting(self._host.queue))
        except BrokerError:  # it is away, and says so; that is not silence
            return False
