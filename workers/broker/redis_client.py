"""The connection to Redis, and its errors in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from batchchat.jobs.errors import BrokerError, ConfigError

KEY_PREFIX = "batchchat:"
"""What all our keys begin with, Celery's too."""

SOCKET_OPTIONS = {
    # A connection whose other end is gone looks alive for ever without these.
    "socket_timeout": 15,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}


def open_redis(url: str) -> Any:
    """Return a client of the Redis at `url`; it connects when it is first used.

    Raises:
        ConfigError: that is no URL of a Redis.

    """
    from redis import Redis

    hint = "use one such as `redis://host:6379/0`"
    try:
        if urlsplit(url).scheme not in {"redis", "rediss"}:
            message = "BATCHCHAT_BROKER: this is no URL of a Redis"
            raise ConfigError(message, hint=hint)
        return Redis.from_url(url, decode_responses=True, **SOCKET_OPTIONS)
    except ValueError as error:
        raise ConfigError(f"BATCHCHAT_BROKER: {error}", hint=hint) from None


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise what Redis or Celery's connection to it raises as `BrokerError`."""
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OperationalError, OSError) as error:
        raise BrokerError(f"Redis does not answer: {error}") from error
