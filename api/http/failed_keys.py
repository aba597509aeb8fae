"""Limits how many wrong API keys a client may try."""

import time
from collections.abc import Callable
from ipaddress import ip_address
from math import ceil

from batchchat.api.http.errors import ApiError
from batchchat.jobs.lru_cache import LruCache

PER_MINUTE = 30
"""Wrong keys a minute that an address may send."""

_MAX_ADDRESSES = 10_000
_IPV6_PREFIX_BYTES = 8
"""A client has all addresses of an IPv6 network with this prefix."""


class FailedKeys:
    """A token bucket for each address.

    Keys are too long to be guessed, but each wrong one costs a request to the storage.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with full buckets."""
        self._clock = clock
        self._left = LruCache[str, tuple[float, float]](_MAX_ADDRESSES)

    def check(self, address: str) -> None:
        """Raise `ApiError` (429) if the address has sent too many wrong keys."""
        missing = 1 - self._tokens(_client(address))
        if missing > 0:
            seconds = ceil(missing * 60 / PER_MINUTE)
            raise ApiError(
                429,
                "Too many incorrect API keys from this address. Wait for the number of"
                " seconds in the `retry-after` header.",
                code="rate_limit_exceeded",
                headers={"retry-after": f"{seconds}"},
            )

    def count(self, address: str) -> None:
        """Count a wrong key."""
        client = _client(address)
        self._left.put(client, (self._tokens(client) - 1, self._clock()))

    def _tokens(self, client: str) -> float:
        now = self._clock()
        left, since = self._left.get(client) or (float(PER_MINUTE), now)
        return min(float(PER_MINUTE), left + (now - since) * PER_MINUTE / 60)


def _client(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:  # noqa: PLR2004 - IPv4
        return address
    return parsed.packed[:_IPV6_PREFIX_BYTES].hex()
