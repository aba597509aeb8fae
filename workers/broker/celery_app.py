"""Celery as batchchat uses it: it carries hints, and no result depends on them.

This module relies on parts of Celery and kombu that are not public:
`tests/contract/test_celery_internals.py` checks them and has advice for upgrades.
"""

import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any

import celery.apps.worker
import celery.worker.state
from celery import Celery
from celery.bootsteps import StartStopStep
from celery.signals import setup_logging, task_received
from celery.worker.consumer.tasks import Tasks
from typing_extensions import override

from batchchat.workers.broker.messages import Queue, WorkMessage
from batchchat.workers.broker.redis_client import (
    KEY_PREFIX,
    SOCKET_OPTIONS,
    redis_errors,
)

TASK_NAME = "batchchat.run"

_WAKE_BUFFER_BYTES = 4096

log = logging.getLogger(__name__)


def make_app(broker: str) -> Celery:
    """Return the Celery application on the Redis at `broker`."""
    app = Celery("batchchat", broker=broker, set_as_current=False)
    app.conf.update(
        # Only data may come over the wire, never code.
        accept_content=["json"],
        task_serializer="json",
        # The bucket holds the results of tasks.
        result_backend=None,
        task_ignore_result=True,
        # Late acknowledgement blocked workers for good after an outage of Redis. It
        # is not needed: the dispatcher finds lost work and sends it again.
        task_acks_late=False,
        # A message that waits inside a worker is not available to the others.
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        # Nothing here uses the communication between workers.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        # An outage of Redis may outlast any number of retries.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # Avoids a long warning; it has no effect without late acknowledgement.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        # The next sweep repeats a message that could not be sent.
        task_publish_retry=False,
        broker_transport_options={
            "global_keyprefix": KEY_PREFIX,
            # Never redeliver a message: the dispatcher sends a new one.
            "visibility_timeout": 7 * 86_400,
            **SOCKET_OPTIONS,
        },
        worker_redirect_stdouts=False,
    )
    return app


class CeleryQueue(Queue):
    """Celery's queues on Redis."""

    resend_seconds = 5.0

    def __init__(self, app: Celery, redis: Any) -> None:
        """Send through `app`; `redis` is a client of its broker."""
        self._app = app
        self._redis = redis
        self._has_logged = False

    @override
    def send(self, queue: str, message: WorkMessage, *, to_front: bool = False) -> None:
        name = message.name
        with redis_errors():
            self._app.send_task(TASK_NAME, [name], task_id=name, queue=queue)
            if to_front:  # Celery appends on the left and takes from the right
                key = f"{KEY_PREFIX}{queue}"
                self._redis.lmove(key, key, "LEFT", "RIGHT")

    @override
    def waiting(self, queue: str) -> set[str]:
        with redis_errors():
            envelopes = self._redis.lrange(f"{KEY_PREFIX}{queue}", 0, -1)
        names = {_message_name(envelope) for envelope in envelopes}
        if None in names and not self._has_logged:
            self._has_logged = True
            log.warning("skipped a message in %s that this version cannot read", queue)
        return {name for name in names if name is not None}


def _message_name(envelope: str) -> str | None:
    """Return the name of the work message in a message of Celery; None if unknown."""
    try:
        name = json.loads(envelope)["headers"]["id"]
    except (ValueError, TypeError, LookupError):
        return None
    return name if WorkMessage.parse(name) is not None else None


class Consumer:
    """Processes the messages of a queue in threads, until a signal arrives."""

    def __init__(
        self,
        app: Celery,
        queue: str,
        run: Callable[[WorkMessage], object],
        *,
        threads: int,
        has_room: Callable[[int], bool],
    ) -> None:
        """Take a message only while `has_room(active)` is true.

        `active` is the number of messages that this process is working on. A message
        that is not taken stays in the queue, where other workers see it.
        """
        self._app = app
        self._queue = queue
        self._run = run
        self._threads = threads
        self._has_room = has_room
        self._active = 0
        self._lock = Lock()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def consume(self) -> int:
        """Process messages; return the exit status after all of them have ended."""
        # The command has configured logging. Celery's own set-up would silence the
        # lines of this program, and its shutdown message would bypass them.
        setup_logging.connect(_do_nothing, weak=False)
        task_received.connect(self._count_arrival, weak=False)
        celery.apps.worker.safe_say = _do_nothing
        self._app.task(self._run_task, name=TASK_NAME)
        self._app.steps["consumer"].add(_admission_step(self._attach))
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
        """Have `has_room` checked now; callable from any thread."""
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"1")

    def _count_arrival(self, **_: object) -> None:
        with self._lock:
            self._active += 1

    def _run_task(self, *arguments: object, **_: object) -> None:
        """Run a message; one that this version cannot read frees its place at once."""
        try:
            message = WorkMessage.parse(arguments[0]) if len(arguments) == 1 else None
            if message is None:
                log.warning("dropped a message that this version cannot read")
            else:
                self._run(message)
        finally:
            with self._lock:
                self._active -= 1
            self.wake()

    def _attach(self, consumer: Any) -> None:
        """Check `has_room` before each message; called again for each connection."""
        qos = consumer.task_consumer.channel.qos
        can_consume = qos.can_consume
        qos.can_consume = lambda: self._has_room(self._active) and can_consume()
        consumer.hub.add_reader(
            self._wake_read, os.read, self._wake_read, _WAKE_BUFFER_BYTES
        )


def _do_nothing(*_: object, **__: object) -> None:
    """Replace a function of Celery."""


def _admission_step(attach: Callable[[Any], object]) -> type:
    """Return a step of Celery's consumer that calls `attach` when it starts."""

    class AdmissionStep(StartStopStep):  # type: ignore[misc]
        requires = (Tasks,)

        @override
        def start(self, parent: Any) -> None:
            attach(parent)

    return AdmissionStep


def stop_worker(exit_code: int) -> None:
    """Stop the Celery worker of this process and set its exit status."""
    celery.worker.state.should_stop = exit_code
