"""Leases: timed claims on work, kept in Redis and timed by its clock.

A lease spares duplicate work and decides nothing: two workers on one shard are
safe. So a holder whose lease is gone because Redis was flushed claims it again, and a
holder that cannot reach Redis continues.
"""

from collections.abc import Collection
from typing import Any, Protocol
from uuid import uuid4

from typing_extensions import override

from batchchat.workers.broker.redis_client import KEY_PREFIX, redis_errors
from batchchat.workers.broker.redis_values import (
    VALUE_OF,
    ExpiringValues,
    with_type,
)

_SERVER_ID_KEY = f"{KEY_PREFIX}server"
_ID_END = 63
"""The last byte of the server's id that is read; there are 32 of them."""

# `value_of` ignores what is no lease, which would otherwise be held for ever.
_ACQUIRE = f"""{VALUE_OF}
if value_of(KEYS[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RENEW = f"""{VALUE_OF}
local owner = value_of(KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = f"""{VALUE_OF}
if value_of(KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class Leases(Protocol):
    """The leases of one owner; each method may raise `BrokerError`."""

    def acquire(self, name: str) -> bool:
        """Claim `name`; return False if another owner holds it."""
        ...

    def renew(self, name: str) -> bool:
        """Extend the claim on `name`; return False if another owner holds it."""
        ...

    def release(self, name: str) -> None:
        """Give up the claim on `name`, if this owner holds it."""
        ...

    def held(self, names: Collection[str]) -> set[str]:
        """Return the subset of `names` that any owner holds."""
        ...

    def detect_flush(self) -> bool:
        """Return True on the first call and on the first call after a flush."""
        ...


class RedisLeases(Leases):
    """Leases in Redis."""

    def __init__(self, redis: Any, owner: str, seconds: float) -> None:
        """Each claim of `owner` lasts `seconds`."""
        self._redis = redis
        self._owner = owner
        self._milliseconds = int(seconds * 1000)
        self._server_id: str | None = None
        self._values = ExpiringValues(redis)
        self._acquire = redis.register_script(_ACQUIRE)
        self._renew = redis.register_script(_RENEW)
        self._release = redis.register_script(_RELEASE)

    @override
    def acquire(self, name: str) -> bool:
        with redis_errors():
            arguments = [self._owner, self._milliseconds]
            return bool(self._acquire(keys=[_key(name)], args=arguments))

    @override
    def renew(self, name: str) -> bool:
        with redis_errors():
            arguments = [self._owner, self._milliseconds]
            return bool(self._renew(keys=[_key(name)], args=arguments))

    @override
    def release(self, name: str) -> None:
        with redis_errors():
            self._release(keys=[_key(name)], args=[self._owner])

    @override
    def held(self, names: Collection[str]) -> set[str]:
        with redis_errors():
            owners = self._values.get([_key(name) for name in names])
        return {name for name, owner in zip(names, owners, strict=True) if owner}

    @override
    def detect_flush(self) -> bool:
        with redis_errors():
            server_id = with_type(
                self._redis, _SERVER_ID_KEY, "string", self._read_server_id
            )
        previous, self._server_id = self._server_id, server_id
        return server_id != previous

    def _read_server_id(self) -> str:
        """Return the id that the first process gave to this server."""
        self._redis.set(_SERVER_ID_KEY, uuid4().hex, nx=True)
        return str(self._redis.getrange(_SERVER_ID_KEY, 0, _ID_END))


def _key(name: str) -> str:
    return f"{KEY_PREFIX}lease:{name}"
