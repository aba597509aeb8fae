"""Values in Redis that something else wrote: of another type, or without an expiry.

Redis holds nothing that must survive, so a key of batchchat's with a value of another
type is deleted, and its owner writes it again. Each string of batchchat's expires; one
that does not was not written by batchchat and is skipped, or it would count for ever.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

log = logging.getLogger(__name__)

MAX_EXPIRY_SECONDS = 3600
"""No value of batchchat's expires later than this."""

MAX_VALUE_BYTES = 1 << 20
"""No value of batchchat's is longer than this."""

VALUE_OF = f"""
local function value_of(key)
  local left = redis.call('PTTL', key)
  if left <= 0 or left > {MAX_EXPIRY_SECONDS * 1000} then return false end
  if redis.call('TYPE', key).ok ~= 'string' then return false end
  if redis.call('STRLEN', key) > {MAX_VALUE_BYTES} then return false end
  return redis.call('GET', key)
end
"""
"""A function for Lua scripts: the string at a key, false if it is not batchchat's."""

_READ = f"""{VALUE_OF}
local values = {{}}
for i, key in ipairs(KEYS) do values[i] = value_of(key) end
return values
"""

T = TypeVar("T")


class ExpiringValues:
    """Reads the strings that batchchat wrote."""

    def __init__(self, redis: Any) -> None:
        """Read from the server of the client `redis`."""
        self._read = redis.register_script(_READ)

    def get(self, keys: Sequence[str]) -> list[str | None]:
        """Return the value of each key; None if there is none, or a foreign one."""
        return list(self._read(keys=list(keys))) if keys else []


def with_type(redis: Any, key: str, kind: str, call: Callable[[], T]) -> T:
    """Return the result of `call`, which uses `key` as a value of type `kind`.

    If the key has another type, it is deleted, and `call` is repeated.
    """
    try:
        return call()
    except Exception as error:
        if not is_wrong_type(error):
            raise
        delete_wrong_type(redis, key, kind)
        return call()


def is_wrong_type(error: BaseException) -> bool:
    """Return whether Redis found a value of another type than the command needs."""
    cause = error.__cause__ or error  # kombu wraps the errors of redis-py
    return str(cause).startswith("WRONGTYPE")


def delete_wrong_type(redis: Any, key: str, kind: str) -> None:
    """Delete a key unless it has the type `kind`."""
    found = redis.type(key)
    if found not in {kind, "none"}:
        redis.delete(key)
        log.warning("deleted `%s` in Redis: it was a %s, not a %s", key, found, kind)
