"""The announcement that a batch was created or cancelled, which starts a sweep.

It is a hint: without it, the next sweep finds the batch in the bucket. Any value that
differs from the last one starts a single sweep, so a foreign one has no other effect.
"""

from typing import Any
from uuid import uuid4

from batchchat.workers.broker.redis_client import KEY_PREFIX, redis_errors
from batchchat.workers.broker.redis_values import ExpiringValues

_KEY = f"{KEY_PREFIX}announced"
_SECONDS = 60


class Announcements:
    """The announcements in one Redis, of which the last one is kept."""

    def __init__(self, redis: Any) -> None:
        """Use the server of the client `redis`."""
        self._redis = redis
        self._values = ExpiringValues(redis)
        self._seen: str | None = None

    def announce(self) -> None:
        """Have controllers sweep now. Raises `BrokerError`."""
        with redis_errors():
            self._redis.set(_KEY, uuid4().hex, ex=_SECONDS)

    def is_new(self) -> bool:
        """Return whether there is another one than before. Raises `BrokerError`."""
        with redis_errors():
            [found] = self._values.get([_KEY])
        previous, self._seen = self._seen, found
        return found not in (None, previous)
