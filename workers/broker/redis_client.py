"""Clients of Redis, and its errors as `BrokerError`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from batchchat.jobs.errors import BrokerError

KEY_PREFIX = "batchchat:"
"""Prefix of all keys, including those of Celery."""


def open_redis(url: str) -> Any:
    """Return a client of the Redis at `url`; it connects on first use.

    Raises:
        ConfigError: `url` is not the URL of a Redis.

    """
    from batchchat.workers.broker.redis_address import RedisAddress

    return RedisAddress.parse(url).client()


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise errors of Redis, and of Celery's connection to it, as `BrokerError`."""
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    from batchchat.workers.broker.redis_replies import explain

    try:
        yield
    except (RedisError, OperationalError, OSError) as error:
        raise explain(error) from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        # Whatever answers at the address of Redis, it does not speak its protocol.
        raise BrokerError(f"Redis sent an invalid reply: {error!r}") from error
