"""Clients of Redis, and its errors as `BrokerError`."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from batchchat.jobs.errors import BrokerError, ConfigError

KEY_PREFIX = "batchchat:"
"""Prefix of all keys, including those of Celery."""


def open_redis(url: str) -> Any:
    """Return a client of the Redis at `url`; it connects on first use.

    Raises:
        ConfigError: `url` is not the URL of a Redis.

    """
    from batchchat.workers.broker.redis_address import RedisAddress

    return RedisAddress.parse(url).client()


def check_login(url: str) -> None:
    """Check that Redis accepts the credentials; another failure may be temporary.

    Raises:
        ConfigError: `url` is invalid, Redis rejects its credentials, its certificate is
            not valid, or `url` and Redis disagree about TLS.

    """
    from redis.exceptions import RedisError

    from batchchat.workers.broker.redis_address import RedisAddress
    from batchchat.workers.broker.redis_replies import explain, is_permanent
    from batchchat.workers.broker.tls_mismatch import check_tls

    address = RedisAddress.parse(url)
    with closing(address.client()) as redis:
        try:
            redis.ping()
        except (RedisError, ValueError) as error:  # a ValueError if it is no Redis
            check_tls(address)
            if is_permanent(error):
                found = explain(error)
                text = f"BATCHCHAT_BROKER: {found.message}"
                raise ConfigError(text, hint=found.hint) from None


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
        raise BrokerError(
            f"Redis sent an invalid reply: {error!r}",
            hint="check that BATCHCHAT_BROKER names a Redis",
        ) from error
