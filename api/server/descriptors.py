"""File descriptors of this process: raise their limit, and keep some free."""

import resource
from contextlib import suppress

_WANTED = 65_536
_RESERVED = 256
"""Descriptors for storage, broker, runner, webhooks and excess connections."""

_PER_CONNECTION = 2
"""The connection, and the file that it reads or writes."""

_MIN_CONNECTIONS = 16


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard limit, up to 65,536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems allow less than they report
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_connections(most: int) -> int:
    """Return how many connections the limit of open files allows, up to `most`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return most
    return min(most, max(_MIN_CONNECTIONS, (soft - _RESERVED) // _PER_CONNECTION))
