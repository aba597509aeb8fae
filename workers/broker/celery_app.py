"""Celery as batchchat uses it: it carries hints, and no result depends on them.

This module relies on parts of Celery and kombu that are not public:
`tests/contract/test_celery_internals.py` checks them and has advice for upgrades.
"""

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

from batchchat.workers.broker.celery_transport import (
    TASK_NAME,
    BrokerLink,
    ConnectionFailures,
    RedisConnection,
    RedisTransport,
    message_name,
)
from batchchat.workers.broker.messages import Queue, WorkMessage
from batchchat.workers.broker.redis_address import SOCKET_OPTIONS, RedisAddress
from batchchat.workers.broker.redis_client import KEY_PREFIX, redis_errors
from batchchat.workers.broker.redis_values import MAX_VALUE_BYTES, with_type

_WAKE_BUFFER_BYTES = 4096
_MAX_LISTED_MESSAGES = 10_000
"""How many messages of a queue are read. It has far fewer, unless others fill it."""

log = logging.getLogger(__name__)


def make_app(broker: str) -> Celery:
    """Return the Celery application on the Redis at `broker`. Raises `ConfigError`."""
    address = RedisAddress.parse(broker)
    # The transport knows the address; Celery only demands that there is one.
    app = Celery("batchchat", broker="redis://redis", set_as_current=False)
    app.amqp.Connection = RedisConnection
    app.conf.update(
        broker_transport=f"{RedisTransport.__module__}:{RedisTransport.__name__}",
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
            "link": BrokerLink(address),
            "global_keyprefix": KEY_PREFIX,
            "health_check_interval": SOCKET_OPTIONS["health_check_interval"],
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
        name, key = message.name, _key(queue)

        def push() -> None:
            self._app.send_task(TASK_NAME, [name], task_id=name, queue=queue)
            if to_front:  # Celery appends on the left and takes from the right
                self._redis.lmove(key, key, "LEFT", "RIGHT")

        with redis_errors():
            with_type(self._redis, key, "list", push)

    @override
    def waiting(self, queue: str) -> set[str]:
        key = _key(queue)
        with redis_errors():
            envelopes = with_type(self._redis, key, "list", lambda: self._list(key))
        names = {message_name(envelope) for envelope in envelopes}
        if None in names and not self._has_logged:
            self._has_logged = True
            log.warning("skipped a message in %s that this version cannot read", queue)
        return {name for name in names if name is not None}

    def _list(self, key: str) -> list[str]:
        """Return the messages in a queue; remove those that are too long for one."""
        messages: list[str] = self._redis.lrange(key, -_MAX_LISTED_MESSAGES, -1)
        for message in messages:
            if len(message) > MAX_VALUE_BYTES:
                self._redis.lrem(key, 0, message)
        return messages


def _key(queue: str) -> str:
    return f"{KEY_PREFIX}{queue}"


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
        self._link: BrokerLink = app.conf.broker_transport_options["link"]
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
        consumer_log = logging.getLogger("celery.worker.consumer.consumer")
        consumer_log.addFilter(ConnectionFailures(self._link))
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

    @property
    def is_refused(self) -> bool:
        """Whether no message can arrive because Redis fails, which is logged."""
        return self._link.is_refused

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
