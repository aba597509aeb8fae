"""A controller process: Celery brings the messages, a thread sweeps."""

import logging
import os
import socket
import time
from threading import Thread
from uuid import uuid4

from celery.signals import worker_shutting_down

from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import Storage
from batchchat.workers.broker.celery_app import CeleryQueue, Consumer, make_app
from batchchat.workers.broker.lease_keeper import LeaseKeeper
from batchchat.workers.broker.leases import RedisLeases
from batchchat.workers.broker.messages import CONTROL
from batchchat.workers.broker.redis_client import open_redis
from batchchat.workers.broker.status_board import RedisStatusBoard
from batchchat.workers.control.controller import Controller
from batchchat.workers.control.dispatcher import Dispatcher

log = logging.getLogger(__name__)

_THREADS = 4
"""Batches that are planned or ended at once."""


def run_controller(
    storage: Storage, settings: Settings, broker: str, renderers: RendererRegistry
) -> int:
    """Control the batches in `storage` until a signal; return the exit status."""
    app, redis = make_app(broker), open_redis(broker)
    leases = RedisLeases(redis, uuid4().hex, settings.lease_seconds)
    keeper = LeaseKeeper(
        leases,
        lease_seconds=settings.lease_seconds,
        stall_seconds=settings.stall_seconds,
    )
    status_board = RedisStatusBoard(redis)
    dispatcher = Dispatcher(
        storage,
        settings,
        queue=CeleryQueue(app, redis),
        leases=leases,
        status_board=status_board,
    )
    controller = Controller(
        storage,
        settings,
        renderers,
        dispatcher=dispatcher,
        keeper=keeper,
        status_board=status_board,
        name=socket.gethostname(),
    )

    def shut_down(**_: object) -> None:
        log.info("ending")
        controller.stop()
        Thread(target=_insist, args=(settings.grace_seconds,), daemon=True).start()

    worker_shutting_down.connect(shut_down, weak=False)
    keeper.start(controller.publish_status)
    controller.start()
    log.info("controlling the batches in %s", storage.url)
    return Consumer(
        app,
        CONTROL,
        controller.run,
        threads=_THREADS,
        has_room=lambda here: here < _THREADS,
    ).consume()


def _insist(grace: float) -> None:
    """End a plan or a final record that is not done in time: it is made again."""
    time.sleep(grace)
    os._exit(0)
