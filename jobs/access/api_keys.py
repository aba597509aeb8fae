"""API keys: each belongs to a project, and only its digest is stored.

A key is `bc_<id>_<secret>`. Its record is in the storage, so that it is valid on every
server. Its revocation is a separate record, and so is its last use, which servers
store now and then.
"""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from hmac import compare_digest
from time import time
from typing import NamedTuple

from batchchat.jobs.durations import duration_seconds
from batchchat.jobs.errors import (
    NotFoundError,
    ObjectMissingError,
    StorageError,
    UsageError,
)
from batchchat.jobs.ids import checked_project
from batchchat.jobs.ledger import records
from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.storage import Storage

_PREFIX = "keys"
_ID = re.compile(r"[0-9a-f]{16}")

LAST_USE_SECONDS = 600
"""Time between two records of the use of a key by one server."""

_REMEMBERED_USES = 10_000
_UNMATCHABLE_DIGEST = sha256(secrets.token_bytes()).hexdigest()


class ApiKey(records.Record, frozen=True, kw_only=True):
    """`key.json`: the project of a key; `sha256` is the digest of the whole key.

    Times are Unix seconds. A key without `expires_at` never expires; readers of
    format 1 do not know that field.
    """

    id: str
    project: str
    name: str
    created_at: int
    sha256: str
    expires_at: int | None = None
    format: records.Format = 2

    def is_expired(self, now: float) -> bool:
        """Return whether it is no longer valid."""
        return self.expires_at is not None and now >= self.expires_at


class ListedKey(NamedTuple):
    """A key, when it was revoked, and when it was last used (Unix seconds, or None).

    Servers store the last use with a delay of up to `LAST_USE_SECONDS`.
    """

    key: ApiKey
    revoked_at: int | None
    last_used_at: int | None


class Revocation(records.Record, frozen=True):
    """`revoked.json`: when a key was revoked."""

    created_at: int


class LastUse(records.Record, frozen=True):
    """`last_use.json`: when a server has last stored that a key was used."""

    used_at: int


class ApiKeys:
    """The API keys in one storage."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time) -> None:
        """Use the keys in `storage`."""
        self._storage = storage
        self._clock = clock
        self._stored_uses = LruCache[str, int](_REMEMBERED_USES)

    def create(
        self, project: str, name: str = "", expires: str | None = None
    ) -> tuple[ApiKey, str]:
        """Create a key; return its record, and the key itself, which is not stored.

        `expires` is a duration such as `30d`; None means that the key never expires.

        Raises:
            UsageError: the name of the project, or the duration, is invalid.

        """
        now = int(self._clock())
        expires_at = None if expires is None else now + _checked_duration(expires)
        key_id = secrets.token_hex(8)
        text = f"bc_{key_id}_{secrets.token_urlsafe(32)}"
        key = ApiKey(
            id=key_id,
            project=checked_project(project),
            name=name,
            created_at=now,
            sha256=_digest(text),
            expires_at=expires_at,
            format=1 if expires_at is None else 2,
        )
        self._storage.create(f"{_PREFIX}/{key_id}/key.json", records.encode(key))
        return key, text

    def revoke(self, key_id: str) -> None:
        """Revoke a key for ever. Raises `NotFoundError`."""
        if self._read(key_id) is None:
            hint = "list the keys with `batchchat keys list`"
            raise NotFoundError(f"no such key: `{key_id[:80]}`", hint=hint)
        mark = records.encode(Revocation(int(self._clock())))
        self._storage.create(f"{_PREFIX}/{key_id}/revoked.json", mark)

    def find(self, text: str) -> ApiKey | None:
        """Return the valid key with the given text, and note that it is used.

        Return None if there is none: it is unknown, revoked or expired.
        """
        key_id = text.split("_")[1] if text.startswith("bc_") else ""
        key = self._read(key_id)
        is_valid = compare_digest(
            _digest(text), key.sha256 if key else _UNMATCHABLE_DIGEST
        )
        if key is None or not is_valid or self._revoked_at(key_id) is not None:
            return None
        now = self._clock()
        if key.is_expired(now):
            return None
        self._store_use(key_id, int(now))
        return key

    def exist(self) -> bool:
        """Return whether any key was ever created."""
        return next(self._storage.list(f"{_PREFIX}/"), None) is not None

    def __iter__(self) -> Iterator[ListedKey]:
        """Yield all keys, including revoked ones."""
        for key_id in self._storage.folders(_PREFIX):
            key = self._read(key_id)
            if key is not None:
                use = self._read_optional(LastUse, _last_use(key_id))
                used_at = use.used_at if use else None
                yield ListedKey(key, self._revoked_at(key_id), used_at)

    def _store_use(self, key_id: str, now: int) -> None:
        """Store that a key is used, unless that was stored recently."""
        if now - (self._stored_uses.get(key_id) or 0) < LAST_USE_SECONDS:
            return
        self._stored_uses.put(key_id, now)
        with suppress(StorageError):  # it must not fail the request
            self._storage.put(_last_use(key_id), records.encode(LastUse(now)))

    def _read(self, key_id: str) -> ApiKey | None:
        if not _ID.fullmatch(key_id):
            return None
        return self._read_optional(ApiKey, f"{_PREFIX}/{key_id}/key.json")

    def _revoked_at(self, key_id: str) -> int | None:
        mark = self._read_optional(Revocation, f"{_PREFIX}/{key_id}/revoked.json")
        return mark.created_at if mark else None

    def _read_optional(self, kind: type[records.R], key: str) -> records.R | None:
        try:
            return records.decode(kind, self._storage.get(key), key)
        except ObjectMissingError:
            return None


def _last_use(key_id: str) -> str:
    return f"{_PREFIX}/{key_id}/last_use.json"


def _checked_duration(text: str) -> int:
    seconds = duration_seconds(text)
    if not seconds:
        raise UsageError(
            f"`{text[:80]}` is not a duration",
            hint="use one such as 90m, 24h or 30d",
        )
    return seconds


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
