"""Celery as we use it: it carries messages, and nothing hangs on their arrival."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any, Protocol

import celery.apps.worker
import celery.worker.state
from celery import Celery
from celery.bootsteps import StartStopStep
from celery.signals import setup_logging, task_received
from celery.worker.consumer.tasks import Tasks

from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.redis_client import (
    KEY_PREFIX,
    SOCKET_OPTIONS,
    redis_errors,
)

TASK_NAME = "batchchat.run"


def make_app(broker: str) -> Celery:
    """Return the Celery application on the Redis at `broker`."""
    app = Celery("batchchat", broker=broker, set_as_current=False)
    app.conf.update(
        # Only data may come over the wire, never code.
        accept_content=["json"],
        task_serializer="json",
        # What became of a task stands in the bucket.
        result_backend=None,
        task_ignore_result=True,
        # Late acknowledgement wedged workers for good after Redis had been away.
        # The dispatcher finds what is lost; redelivery need not.
        task_acks_late=False,
        # A message that waits inside a worker is one that no other can take.
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        # Talk between workers that nobody here listens to.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        # Redis may be away for longer than any number of tries.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # Only late acknowledgement could be cancelled; else Celery warns at length.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        # A message that can't be sent is sent by the next sweep.
        task_publish_retry=False,
        broker_transport_options={
            "global_keyprefix": KEY_PREFIX,
            # Nothing is ever redelivered: the dispatcher sends again.
            "visibility_timeout": 7 * 86_400,
            **SOCKET_OPTIONS,
        },
        worker_redirect_stdouts=False,
    )
    return app


class Queue(Protocol):
    """Where messages wait; each method may raise `BrokerError`."""

    def send(self, queue: str, message: WorkMessage, *, to_front: bool = False) -> None:
        """Put a message at the end of a queue, or before all others."""
        ...

    def waiting(self, queue: str) -> set[str]:
        """Return the names of the messages that wait in a queue."""
        ...


class CeleryQueue:
    """Celery's queues on Redis."""

    def __init__(self, app: Celery, redis: Any) -> None:
        """Send through `app`; `redis` is a client of its broker."""
        self._app = app
        self._redis = redis

    def send(  # noqa: D102 - see Queue
        self, queue: str, message: WorkMessage, *, to_front: bool = False
    ) -> None:
        with redis_errors():
            self._app.send_task(
                TASK_NAME, [message.name], task_id=message.name, queue=queue
            )
            if to_front:  # Celery appends on the left, and takes from the right
                key = f"{KEY_PREFIX}{queue}"
                self._redis.lmove(key, key, "LEFT", "RIGHT")

    def waiting(self, queue: str) -> set[str]:  # noqa: D102
        with redis_errors():
            messages = self._redis.lrange(f"{KEY_PREFIX}{queue}", 0, -1)
        return {json.loads(message)["headers"]["id"] for message in messages}


class Consumer:
    """Runs the messages of a queue in threads, until a signal."""

    def __init__(
        self,
        app: Celery,
        queue: str,
        run: Callable[[WorkMessage], object],
        *,
        threads: int,
        has_room: Callable[[int], bool],
    ) -> None:
        """Take a message only while `has_room`.

        It is given the number of tasks that are here already. A message that is not
        taken is left where other workers see it.
        """
        self._app = app
        self._queue = queue
        self._run = run
        self._threads = threads
        self._has_room = has_room
        self._here = 0
        self._lock = Lock()
        self._wakes, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def consume(self) -> int:
        """Return the exit status once everything has ended."""
        # Whoever started this has set up logging; Celery would silence our own lines,
        # and write past it that it shuts down.
        setup_logging.connect(_do_nothing, weak=False)
        task_received.connect(self._note_arrival, weak=False)
        celery.apps.worker.safe_say = _do_nothing
        self._app.task(self._task, name=TASK_NAME)
        self._app.steps["consumer"].add(_gate(self._attach))
        worker = self._app.Worker(
            pool="threads",
            concurrency=self._threads,
            queues=[self._queue],
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()
        return int(worker.exitcode or 0)

    def wake(self) -> None:
        """Say, from any thread, that there may be room; else it looks each second."""
        with suppress(BlockingIOError):
            os.write(self._wake, b"1")

    def _note_arrival(self, **_: object) -> None:
        with self._lock:
            self._here += 1

    def _task(self, *name: str, **_: object) -> None:
        """Follow a message; whatever else a message says, it gives its place back."""
        try:
            self._run(WorkMessage.parse(*name))
        finally:
            with self._lock:
                self._here -= 1
            self.wake()

    def _attach(self, consumer: Any) -> None:
        """Ask `has_room` before each message; done anew with each connection."""
        qos = consumer.task_consumer.channel.qos
        allows = qos.can_consume
        qos.can_consume = lambda: self._has_room(self._here) and allows()
        consumer.hub.add_reader(self._wakes, os.read, self._wakes, 4096)


def _do_nothing(*_: object, **__: object) -> None:
    """Do nothing, in place of Celery."""


def _gate(attach: Callable[[Any], object]) -> type:
    """Return the part of Celery's consumer that calls `attach` when it begins."""

    class Gate(StartStopStep):  # type: ignore[misc]
        requires = (Tasks,)

        def start(self, parent: Any) -> None:
            attach(parent)

    return Gate


def stop_worker(code: int) -> None:
    """Have the worker of this process stop, and exit with `code`."""
    celery.worker.state.should_stop = code
