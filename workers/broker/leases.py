"""Leases: timed claims, kept in Redis by its own clock.

A lease spares double work and decides nothing: two workers at one shard do no
harm. So whoever holds one and finds it gone, because Redis was emptied, takes it
again; and whoever can't reach Redis works on.
"""

from collections.abc import Collection
from typing import Any, Protocol
from uuid import uuid4

from batchchat.workers.broker.redis_client import KEY_PREFIX, redis_errors

_RENEW = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class Leases(Protocol):
    """Claims on named things; each method may raise `BrokerError`."""

    def acquire(self, name: str) -> bool:
        """Claim `name` unless somebody else has; say whether it is ours."""
        ...

    def renew(self, name: str) -> bool:
        """Claim `name` for longer; False if somebody else has it by now."""
        ...

    def release(self, name: str) -> None:
        """Give `name` back, if it is ours."""
        ...

    def held(self, names: Collection[str]) -> set[str]:
        """Return those of `names` that anybody has."""
        ...

    def detect_flush(self) -> bool:
        """Say whether this Redis is new to us: the first time, or it was emptied."""
        ...


class RedisLeases:
    """Leases in Redis."""

    def __init__(self, redis: Any, owner: str, seconds: float) -> None:
        """Claim for `owner`, each time for so many seconds."""
        self._redis = redis
        self._owner = owner
        self._milliseconds = int(seconds * 1000)
        self._known: str | None = None
        self._renew = redis.register_script(_RENEW)
        self._release = redis.register_script(_RELEASE)

    def acquire(self, name: str) -> bool:  # noqa: D102 - see Leases
        with redis_errors():
            return bool(
                self._redis.set(_key(name), self._owner, nx=True, px=self._milliseconds)
            )

    def renew(self, name: str) -> bool:  # noqa: D102
        with redis_errors():
            arguments = [self._owner, self._milliseconds]
            return bool(self._renew(keys=[_key(name)], args=arguments))

    def release(self, name: str) -> None:  # noqa: D102
        with redis_errors():
            self._release(keys=[_key(name)], args=[self._owner])

    def held(self, names: Collection[str]) -> set[str]:  # noqa: D102
        if not names:
            return set()
        with redis_errors():
            owners = self._redis.mget([_key(name) for name in names])
        return {name for name, owner in zip(names, owners, strict=True) if owner}

    def detect_flush(self) -> bool:  # noqa: D102
        with redis_errors():
            self._redis.set(f"{KEY_PREFIX}known", uuid4().hex, nx=True)
            known, before = self._redis.get(f"{KEY_PREFIX}known"), self._known
        self._known = known
        return bool(known != before)


def _key(name: str) -> str:
    return f"{KEY_PREFIX}lease:{name}"
