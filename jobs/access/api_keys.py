"""API keys: each belongs to a project, and only its digest is stored.

A key is `bc_<id>_<secret>`. Its record is in the storage, so that it is valid on every
server. Its revocation is a separate record.
"""

import re
import secrets
from collections.abc import Callable, Iterator
from hashlib import sha256
from hmac import compare_digest
from time import time
from typing import NamedTuple

from batchchat.jobs.errors import NotFoundError, ObjectMissingError
from batchchat.jobs.ids import checked_project
from batchchat.jobs.ledger import records
from batchchat.jobs.storage import Storage

_PREFIX = "keys"
_ID = re.compile(r"[0-9a-f]{16}")
_UNMATCHABLE_DIGEST = sha256(secrets.token_bytes()).hexdigest()


class ApiKey(records.Record, frozen=True, kw_only=True):
    """`key.json`: the project of a key; `sha256` is the digest of the whole key."""

    id: str
    project: str
    name: str
    created_at: int
    sha256: str


class ListedKey(NamedTuple):
    """A key, and when it was revoked (Unix seconds), None if it is valid."""

    key: ApiKey
    revoked_at: int | None


class Revocation(records.Record, frozen=True):
    """`revoked.json`: when a key was revoked."""

    created_at: int


class ApiKeys:
    """The API keys in one storage."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time) -> None:
        """Use the keys in `storage`."""
        self._storage = storage
        self._clock = clock

    def create(self, project: str, name: str = "") -> tuple[ApiKey, str]:
        """Create a key; return its record, and the key itself, which is not stored.

        Raises:
            UsageError: the name of the project is invalid.

        """
        key_id = secrets.token_hex(8)
        text = f"bc_{key_id}_{secrets.token_urlsafe(32)}"
        key = ApiKey(
            id=key_id,
            project=checked_project(project),
            name=name,
            created_at=int(self._clock()),
            sha256=_digest(text),
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
        """Return the key with the given text, or None if it is unknown or revoked."""
        key_id = text.split("_")[1] if text.startswith("bc_") else ""
        key = self._read(key_id)
        is_valid = compare_digest(
            _digest(text), key.sha256 if key else _UNMATCHABLE_DIGEST
        )
        return key if is_valid and self._revoked_at(key_id) is None else None

    def exist(self) -> bool:
        """Return whether any key was ever created."""
        return next(self._storage.list(f"{_PREFIX}/"), None) is not None

    def __iter__(self) -> Iterator[ListedKey]:
        """Yield all keys, including revoked ones."""
        for key_id in self._storage.folders(_PREFIX):
            key = self._read(key_id)
            if key is not None:
                yield ListedKey(key, self._revoked_at(key_id))

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


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
