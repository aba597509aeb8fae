"""A worker process: one engine, loaded first, that runs shards until a signal."""

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
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.exit_codes import BROKER_UNRESPONSIVE, CANNOT_RUN, ENGINE_DEAD
from batchchat.workers.shards.shard_host import ShardHost

log = logging.getLogger(__name__)

_MAX_OPEN_SHARDS = 32

_UNRESPONSIVE_AFTER_SECONDS = 60.0
"""Idle time beside a non-empty queue after which the connection counts as dead.

A half-open connection looks healthy, but delivers nothing."""

_SHUTDOWN_MARGIN_SECONDS = 10.0
"""Time that an orderly shutdown may take in addition to the grace period."""


class Worker:
    """Runs shards until a signal, the engine's death, or an unresponsive broker."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        broker: str,
        model: Model,
        engine: EngineDriver,
    ) -> None:
        """Take the shards of `model` from the Redis at `broker`."""
        self._settings = settings
        self._engine = engine
        self._hang_detector = HangDetector(engine, settings.stall_seconds)
        app, redis = make_app(broker), open_redis(broker)
        environment = WorkerEnvironment(
            storage=storage,
            settings=settings,
            leases=RedisLeases(redis, uuid4().hex, settings.lease_seconds),
            status_board=RedisStatusBoard(redis),
            host_name=socket.gethostname(),
        )
        self._host = ShardHost(environment, model, engine)
        self._queue = CeleryQueue(app, redis)
        self._consumer = Consumer(
            app,
            self._host.queue,
            self._host.run,
            threads=_MAX_OPEN_SHARDS,
            has_room=self._host.has_room,
        )
        self._host.on_room = self._consumer.wake
        self._last_busy_at = time.monotonic()
        self._is_stopping = False

    def run(self) -> int:
        """Run until the end; return the exit status once all work is handed back."""
        worker_shutting_down.connect(self._on_signal, weak=False)
        if self._host.guard.is_denied():
            log.error("this worker may not use the storage: stopping it")
            self._engine.close()
            return CANNOT_RUN
        self._host.keeper.start(self._tick)
        log.info("ready for shards from %s", self._host.queue)
        try:
            return self._consumer.consume()
        finally:
            self._host.close()
            self._engine.close()

    def _on_signal(self, **_: object) -> None:
        """Let running requests finish within the grace period."""
        grace = self._settings.grace_seconds
        log.info("shutting down: running requests have %gs to finish", grace)
        self._stop(0, grace)

    def _tick(self) -> None:
        self._host.tick()
        if self._is_stopping:
            return
        if self._hang_detector.is_hung():
            # The marks of its attempts name the requests that it had.
            self._engine.abandon("the engine hangs")
        if self._host.engine_error or not self._engine.is_alive:
            log.error("the engine died or hangs: stopping this worker")
            self._stop(ENGINE_DEAD, 0)
        elif self._host.guard.problem and not self._host.guard.has_worked:
            log.error("this worker may not use the storage: stopping it")
            self._stop(CANNOT_RUN, 0)
        elif self._is_broker_unresponsive():
            log.error("the queue has messages but none arrives: stopping this worker")
            self._stop(BROKER_UNRESPONSIVE, 0)

    def _stop(self, exit_code: int, drain_seconds: float) -> None:
        """Shut down in order; kill this process if that takes too long."""
        self._is_stopping = True
        self._host.drain(drain_seconds)
        if exit_code:
            stop_worker(exit_code)

        def kill() -> None:
            time.sleep(drain_seconds + _SHUTDOWN_MARGIN_SECONDS)
            log.error("the shutdown takes too long: killing this worker")
            os._exit(exit_code or ENGINE_DEAD)

        Thread(target=kill, name="shutdown-timeout", daemon=True).start()

    def _is_broker_unresponsive(self) -> bool:
        """Return whether this worker was idle for long beside a non-empty queue.

        An error of Redis is a response: the consumer connects again.
        """
        now = time.monotonic()
        is_refused = self._consumer.is_refused
        if self._host.is_busy or is_refused or not self._has_waiting_messages():
            self._last_busy_at = now
        return now - self._last_busy_at > _UNRESPONSIVE_AFTER_SECONDS

    def _has_waiting_messages(self) -> bool:
        try:
            return bool(self._queue.waiting(self._host.queue))
        except BrokerError:  # an outage, which is logged elsewhere
            return False
