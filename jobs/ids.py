"""Ids that sort by time, and checks that make them safe in storage keys."""

import hashlib
import os
import re
import time
from collections.abc import Callable

from batchchat.jobs.errors import NotFoundError, UsageError

_HEX = "[0-9a-f]{32}"
_ID = {kind: re.compile(f"{kind}_{_HEX}") for kind in ("batch", "file", "webhook")}
_BATCH_PREFIX = re.compile(r"(?:batch_)?([0-9a-f]{1,32})")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def _uuid7() -> str:
    """Return a version 7 UUID as 32 hex digits (RFC 9562, sections 5.7 and 6.2).

    The 12 bits after the milliseconds are a fraction of a millisecond, so that ids
    that one process makes in turn sort in that order.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = (rest << 12) // 1_000_000
    random = int.from_bytes(os.urandom(10)) >> 18
    value = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random
    return f"{value:032x}"


def new_batch_id() -> str:
    """Return a new id such as `batch_0199…`; ids sort by time."""
    return f"batch_{_uuid7()}"


def new_file_id() -> str:
    """Return a new id such as `file_0199…`; ids sort by time."""
    return f"file_{_uuid7()}"


def retry_file_id(batch_id: str) -> str:
    """Return the id of a retry's input, which its batch's id determines."""
    return f"file_{checked_id('batch', batch_id).removeprefix('batch_')}"


def new_webhook_id() -> str:
    """Return a new id for a webhook endpoint."""
    return f"webhook_{_uuid7()}"


def id_created_at(made_id: str) -> float:
    """Return when the id of a batch or file was made, in Unix seconds."""
    return int(made_id.rpartition("_")[2][:12], 16) / 1000


def smallest_id_at(kind: str, seconds: float) -> str:
    """Return a string that sorts just before all ids made at or after a time."""
    return f"{kind}_{int(max(0.0, seconds) * 1000):012x}"


def new_attempt_id() -> str:
    """Return a new id for an attempt at a shard."""
    return _uuid7()


def request_id(batch_id: str, line: int) -> str:
    """Return the id of a result; it is the same at every attempt."""
    return request_ids(batch_id)(line)


def request_ids(batch_id: str) -> Callable[[int], str]:
    """Return a function from line numbers to the ids of a batch's results."""
    begun = hashlib.blake2b(f"{batch_id}:".encode(), digest_size=16)

    def of(line: int) -> str:
        digest = begun.copy()
        digest.update(b"%d" % line)
        return f"batch_req_{digest.hexdigest()}"

    return of


def checked_id(kind: str, value: str) -> str:
    """Return `value` if it is a valid id of that kind, and so is safe in a key.

    Raises:
        NotFoundError: it is not, so nothing has that id.

    """
    if not _ID[kind].fullmatch(value):
        hint = f"a {kind} id looks like `{kind}_0199…`"
        raise NotFoundError(not_found_message(kind, value), hint=hint)
    return value


def is_batch_id(value: str) -> bool:
    """Return whether `value` is a whole, valid id of a batch."""
    return bool(_ID["batch"].fullmatch(value))


def batch_id_prefix(typed: str) -> str | None:
    """Return the beginning of a batch's id that a user typed, None if it can't be one.

    The leading `batch_` may be missing.
    """
    found = _BATCH_PREFIX.fullmatch(typed.lower())
    return f"batch_{found[1]}" if found else None


def last_id_with(prefix: str) -> str:
    """Return the id that sorts last among those that begin with `prefix`."""
    return prefix.ljust(len("batch_") + 32, "f")


FILE_HINT = "it may have expired or been deleted: submit the requests again"
"""The hint for an unknown file."""


def not_found_message(kind: str, value: str) -> str:
    """Return the message for an unknown id; for files it is OpenAI's."""
    if kind == "file":
        return f"No such File object: {value[:80]}"
    return f"no such {kind}: `{value[:80]}`"


def is_project(name: str) -> bool:
    """Return whether `name` is a valid name of a project."""
    return bool(_PROJECT.fullmatch(name))


def checked_project(name: str) -> str:
    """Return `name` if it is valid in a storage key.

    Raises:
        UsageError: it may not.

    """
    if not is_project(name):
        message = f"`{name[:80]}` is not a valid project name"
        hint = "use up to 63 lower-case letters, digits, `-` and `_`"
        raise UsageError(message, hint=hint)
    return name
