"""A controller process: Celery brings the hints, a thread sweeps."""

import logging
import os
import socket
import time
from threading import Thread
from uuid import uuid4

from celery.signals import worker_shutting_down

from jobs.prompters import Prompters
from jobs.settings import Settings
from jobs.storage import Storage
from workers.celery_app import CeleryQueue, Consumer, make_app
from workers.controller import Controller
from workers.dispatcher import Dispatcher
from workers.hint import CONTROL
from workers.keeper import Keeper
from workers.leases import RedisLeases
from workers.news import RedisNews
from workers.redis_client import open_redis

log = logging.getLogger(__name__)

_THREADS = 4
"""Batches that are planned or ended at once."""


def run_controller(
    storage: Storage, settings: Settings, broker: str, prompters: Prompters
) -> int:
    """Control the batches in `storage` until a signal; return the exit status."""
    app, redis = make_app(broker), open_redis(broker)
    leases = RedisLeases(redis, uuid4().hex, settings.lease_seconds)
    keeper = Keeper(
        leases, seconds=settings.lease_seconds, stall=settings.stall_seconds
    )
    news = RedisNews(redis)
    dispatcher = Dispatcher(
        storage, settings, queue=CeleryQueue(app, redis), leases=leases, news=news
    )
    controller = Controller(
        storage,
        settings,
        prompters,
        dispatcher=dispatcher,
        keeper=keeper,
        news=news,
        name=socket.gethostname(),
    )

    def shut_down(**_: object) -> None:
        log.info("ending")
        controller.stop()
        Thread(target=_insist, args=(settings.grace_seconds,), daemon=True).start()

    worker_shutting_down.connect(shut_down, weak=False)
    keeper.start(controller.tell)
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
