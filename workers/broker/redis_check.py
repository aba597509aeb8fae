"""Checks whether Redis does what batchchat needs, and says what it replies if not."""

import time
from typing import Any, NamedTuple
from uuid import uuid4

from batchchat.jobs.errors import BrokerError
from batchchat.workers.broker.redis_client import KEY_PREFIX, redis_errors

_OLDEST_VERSION = (6, 2)
"""The first version that has LMOVE."""

_PROBE_SECONDS = 10
_FULL = 0.9
"""Share of the memory limit above which Redis is soon full."""


class RedisHealth(NamedTuple):
    """What Redis reports; `problem` and `hint` are empty if all is well."""

    text: str
    problem: str = ""
    hint: str = ""


def check_writable(redis: Any) -> None:
    """Write, read and delete a key. Raises `BrokerError`."""
    key, value = f"{KEY_PREFIX}probe:{uuid4().hex}", "1"
    with redis_errors():
        redis.set(key, value, ex=_PROBE_SECONDS)
        found = redis.get(key)
        redis.delete(key)
    if found != value:
        raise BrokerError(
            "Redis does not return what was written",
            hint="check that BATCHCHAT_BROKER names a master, not a replica or a proxy",
        )


def check_redis(redis: Any) -> RedisHealth:
    """Return the health of Redis. Raises `BrokerError`."""
    with redis_errors():
        began = time.monotonic()
        redis.ping()
        milliseconds = (time.monotonic() - began) * 1000
    check_writable(redis)
    with redis_errors():
        server, memory = redis.info("server"), redis.info("memory")
    name = server.get("server_name", "redis")
    number = str(server.get("valkey_version") or server["redis_version"])
    text = f"{name} {number} responds in {milliseconds:.1f} ms and accepts writes"
    _check_version(name, str(server["redis_version"]))
    return _check_memory(text, memory)


def _check_version(name: str, number: str) -> None:
    major, minor, *_ = (*map(int, number.split(".")), 0)
    if (major, minor) < _OLDEST_VERSION:
        raise BrokerError(
            f"{name} {number} is too old",
            hint="use Redis 6.2 or later, or Valkey",
        )


def _check_memory(text: str, memory: dict[str, Any]) -> RedisHealth:
    """Return the health of Redis, given the section `memory` of INFO."""
    used, limit = int(memory["used_memory"]), int(memory.get("maxmemory", 0))
    if memory.get("maxmemory_policy", "noeviction") != "noeviction":
        problem = "it evicts keys when its memory is full"
        hint = "set its maxmemory-policy to noeviction, or work may be repeated"
        return RedisHealth(text, problem, hint)
    if limit and used > _FULL * limit:
        problem = f"it uses {used / limit:.0%} of its maxmemory"
        return RedisHealth(text, problem, "raise `maxmemory`, or free memory")
    return RedisHealth(text)
