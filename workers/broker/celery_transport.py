"""Celery's connection to Redis: kombu's transport, with what batchchat changes in it.

- All connections are those of `RedisAddress`: TLS is verified, Sentinels are asked, and
  Celery never sees the credentials.
- Whatever goes wrong between Redis and the consumer, the consumer connects again.
  kombu lists the errors that permit this, and leaves out the replies of a failover and
  of a full memory, which end a Celery worker for good.
- Of a message, only its name is used. A message without one is dropped.
- Redis has one list per queue and nothing else: no unacknowledged messages, because
  none is ever delivered again, no bindings, and no priorities.

This module relies on parts of kombu that are not public:
`tests/contract/test_celery_internals.py` checks them and has advice for upgrades.
"""

import json
import logging
from base64 import b64encode
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu.connection import Connection
from kombu.transport.redis import Channel, Transport
from redis.exceptions import RedisError
from typing_extensions import override

from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.redis_address import RedisAddress
from batchchat.workers.broker.redis_replies import explain
from batchchat.workers.broker.redis_values import delete_wrong_type, is_wrong_type
from batchchat.workers.broker.throttled_log import ThrottledLog

TASK_NAME = "batchchat.run"

_RETRY_STEP_SECONDS = 0.5
_MAX_RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)


class BrokerLink:
    """What the connections of one Celery application to Redis have in common."""

    def __init__(self, address: RedisAddress) -> None:
        """Connect to `address`."""
        self.address = address
        self.redis = address.client()
        self._log = ThrottledLog("queue")
        self._is_unproven = False
        self.is_refused = False
        """Whether Redis could not be reached, or replied with an error."""

        self._logged_queues: set[str] = set()

    def begin(self) -> None:
        """Note that a connection is made; make Celery wait if the last did nothing.

        Raises `UnprovenConnectionError`.
        """
        was_unproven, self._is_unproven = self._is_unproven, False
        if was_unproven:
            raise UnprovenConnectionError

    def on_connected(self) -> None:
        """Note that a connection was made, which has to prove itself."""
        self._is_unproven = True

    def on_reply(self) -> None:
        """Note that Redis replied to the consumer."""
        self._is_unproven = self.is_refused = False
        self._log.report(None)

    def on_failure(self, error: Exception) -> None:
        """Log why the consumer has to connect again, at most once a minute."""
        if not isinstance(error, UnprovenConnectionError):
            self.is_refused = isinstance(error, RedisError | OSError)
            self._log.report(explain(error).message)

    def log_skipped(self, queue: str) -> None:
        """Log, once for each queue, that it has a message that cannot be read."""
        if queue not in self._logged_queues:
            self._logged_queues.add(queue)
            log.warning(
                "skipped a message in `%s` that this version cannot read", queue
            )


class UnprovenConnectionError(Exception):
    """The last connection failed before Redis replied to the consumer."""


class ConnectionFailures(logging.Filter):
    """Replaces what Celery logs about each failed connection by the log of a link."""

    def __init__(self, link: BrokerLink) -> None:
        """Report failures to `link`."""
        super().__init__()
        self._link = link

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a record of Celery's consumer that is about an error."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        errors = [one for one in arguments if isinstance(one, Exception)]
        for error in errors:
            self._link.on_failure(error)
        return not errors


class RedisChannel(Channel):
    """A channel on the connections of `link`, a transport option."""

    link: BrokerLink
    ack_emulation = False
    priority_steps = [0]  # noqa: RUF012 - as in the base class
    from_transport_options = (*Channel.from_transport_options, "link")  # type: ignore[assignment]

    @override
    def _get_pool(self, asynchronous: bool = False) -> Any:
        pool = self.link.address.pool(_mixin_of(self) if asynchronous else None)
        # kombu closes the connections to the Sentinels when the channel closes.
        kind = "_async_sentinel_manager" if asynchronous else "_sentinel_manager"
        setattr(self, kind, getattr(pool, "sentinel_manager", None))
        return pool

    @override
    def _queue_bind(self, *_: object) -> None:
        """Store nothing: every message goes to the queue that it names."""

    @override
    def _size(self, queue: str) -> int:
        """Return 0: Celery declares queues and does not use their size."""
        return 0

    @override
    def _brpop_read(self, **options: Any) -> bool:
        """Deliver the message that the pending BRPOP returns."""
        popped = self._read_reply(options)
        if popped is None:
            raise Empty
        queue, text = popped
        name = message_name(text)
        if name is None:
            self.link.log_skipped(queue)
            raise Empty
        self.connection._deliver(_envelope(name, queue), queue)  # noqa: SLF001
        return True

    def _read_reply(self, options: dict[str, Any]) -> tuple[str, bytes] | None:
        connection = self.client.connection
        try:
            reply = self.client.parse_response(connection, "BRPOP", **options)
            popped = (reply[0].decode(), reply[1]) if reply else None
        except Exception as error:
            connection.disconnect()
            if is_wrong_type(error):
                for queue in self.active_queues:
                    key = f"{self.global_keyprefix}{queue}"
                    delete_wrong_type(self.link.redis, key, "list")
            raise
        finally:
            self._in_poll = False
        self.link.on_reply()
        return popped


class RedisTransport(Transport):
    """A transport whose consumer connects again after every error."""

    Channel = RedisChannel
    connection_errors = (Exception,)

    @override
    def establish_connection(self) -> Any:
        client: Any = self.client
        link: BrokerLink = client.transport_options["link"]
        link.begin()
        connection = super().establish_connection()  # type: ignore[no-untyped-call]
        link.on_connected()
        return connection


class RedisConnection(Connection):
    """A connection that is attempted every few seconds, even after a long outage."""

    @override
    def ensure_connection(self, *arguments: Any, **options: Any) -> Any:
        """Connect; see kombu, whose pauses grow to half a minute."""
        options["interval_start"] = options["interval_step"] = _RETRY_STEP_SECONDS
        options["interval_max"] = _MAX_RETRY_SECONDS
        return super().ensure_connection(*arguments, **options)  # type: ignore[no-untyped-call]


def message_name(envelope: str | bytes) -> str | None:
    """Return the name of the work message in a message of Celery; None if unknown."""
    try:
        name = json.loads(envelope)["headers"]["id"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return name if WorkMessage.parse(name) is not None else None


def _envelope(name: str, queue: str) -> dict[str, Any]:
    """Return the message as Celery sends it, so that it contains nothing foreign."""
    body = b64encode(json.dumps([[name], {}, {}]).encode()).decode()
    delivery = {"exchange": "", "routing_key": queue}
    return {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": TASK_NAME, "id": name},
        "properties": {
            "body_encoding": "base64",
            "delivery_info": delivery,
            "delivery_tag": uuid4().hex,
        },
    }


def _mixin_of(channel: RedisChannel) -> type:
    """Return what kombu adds to the connections that the event loop polls."""

    class PolledConnection:
        def disconnect(self, *arguments: Any, **options: Any) -> None:
            super().disconnect(*arguments, **options)  # type: ignore[misc]
            if channel._registered:  # noqa: SLF001
                channel._on_connection_disconnect(self)  # type: ignore[no-untyped-call]  # noqa: SLF001

    return PolledConnection
