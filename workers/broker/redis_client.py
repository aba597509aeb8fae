"""The connection to Redis, and its errors as `BrokerError`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from batchchat.jobs.errors import BrokerError, ConfigError

KEY_PREFIX = "batchchat:"
"""Prefix of all keys, including those of Celery."""

SOCKET_OPTIONS = {
    # Without these, a connection whose other end disappeared stays open for ever.
    "socket_timeout": 15,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}


def open_redis(url: str) -> Any:
    """Return a client of the Redis at `url`; it connects on first use.

    Raises:
        ConfigError: `url` is not the URL of a Redis.

    """
    from redis import Redis

    hint = "use a URL such as `redis://host:6379/0`"
    try:
        if urlsplit(url).scheme not in {"redis", "rediss"}:
            raise ConfigError("BATCHCHAT_BROKER: not a Redis URL", hint=hint)
        return Redis.from_url(url, decode_responses=True, **SOCKET_OPTIONS)
    except ValueError as error:
        raise ConfigError(f"BATCHCHAT_BROKER: {error}", hint=hint) from None


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise errors of Redis, and of Celery's connection to it, as `BrokerError`."""
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OperationalError, OSError) as error:
        raise BrokerError(
            f"Redis is not available: {error}",
            hint="check that it is running and that BATCHCHAT_BROKER is correct",
        ) from error
