"""A controller process: Celery delivers messages, and a thread sweeps."""

import logging
import os
import socket
import time
from functools import partial
from threading import Thread
from uuid import uuid4

from celery.signals import worker_shutting_down

from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import Storage
from batchchat.workers.broker.announcements import Announcements
from batchchat.workers.broker.celery_app import CeleryQueue, Consumer, make_app
from batchchat.workers.broker.leases import RedisLeases
from batchchat.workers.broker.messages import CONTROL
from batchchat.workers.broker.redis_client import open_redis
from batchchat.workers.broker.status_board import RedisStatusBoard
from batchchat.workers.control.batch_planner import BatchPlanner
from batchchat.workers.control.controller import (
    MAX_CONCURRENT_WORK,
    WAITING_WORK,
    Controller,
)
from batchchat.workers.control.delivery_pool import DeliveryPool
from batchchat.workers.control.dispatcher import Dispatcher
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.exit_codes import CANNOT_RUN, SWEEPS_ENDED
from batchchat.workers.housekeeping import Housekeeping

log = logging.getLogger(__name__)

_THREADS = MAX_CONCURRENT_WORK + WAITING_WORK


def run_controller(
    storage: Storage, settings: Settings, broker: str, registry: RendererRegistry
) -> int:
    """Control the batches in `storage` until a signal; return the exit status."""
    app, redis = make_app(broker), open_redis(broker)
    environment = WorkerEnvironment(
        storage=storage,
        settings=settings,
        leases=RedisLeases(redis, uuid4().hex, settings.lease_seconds),
        status_board=RedisStatusBoard(redis),
        host_name=socket.gethostname(),
    )
    keeper = environment.lease_keeper()
    controller = Controller(
        environment,
        BatchPlanner(environment, registry),
        Dispatcher(environment, CeleryQueue(app, redis)),
        keeper,
        deliver=DeliveryPool(environment, keeper).start,
        is_announced=Announcements(redis).is_new,
    )

    def shut_down(**_: object) -> None:
        log.info("shutting down")
        controller.stop()
        Thread(target=_exit_after, args=(settings.grace_seconds,), daemon=True).start()

    worker_shutting_down.connect(shut_down, weak=False)
    keeper.start(controller.publish_status)
    Thread(target=_sweep, args=(controller,), name="dispatcher", daemon=True).start()
    if settings.deletes_batches:
        Housekeeping(storage, settings, partial(Ledger, storage)).start()
    log.info("controlling the batches in %s", storage.url)
    return Consumer(
        app,
        CONTROL,
        controller.handle,
        threads=_THREADS,
        has_room=lambda active: active < _THREADS,
    ).consume()


def _sweep(controller: Controller) -> None:
    """Sweep until the end; exit if that ends early, so that another process sweeps."""
    try:
        controller.run_sweeps(on_denied=_exit_denied)
    except BaseException:  # such as a panic of a library in Rust
        log.exception("the sweeps ended: stopping this controller")
        os._exit(SWEEPS_ENDED)


def _exit_denied() -> None:
    log.error("this controller may not use the storage: stopping it")
    os._exit(CANNOT_RUN)


def _exit_after(seconds: float) -> None:
    """Exit even if a batch is being planned or finalized: that work is repeated."""
    time.sleep(seconds)
    os._exit(0)
