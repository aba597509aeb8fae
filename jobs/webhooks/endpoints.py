"""Webhook endpoints: the URLs to which a project's events are sent."""

import base64
import secrets
from collections.abc import Iterator
from typing import Any

import msgspec

from batchchat.jobs.errors import NotFoundError, ObjectMissingError, UsageError
from batchchat.jobs.ids import checked_id, new_webhook_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger

_MAX_ENDPOINTS = 20
"""Endpoints per project: each of them is called for each batch."""

_OLD_SECRET_SECONDS = 86_400
"""How long a replaced secret still signs, if its owner asks for that."""


class Endpoint(records.Record, frozen=True, kw_only=True):
    """A URL, the events it receives, and the secrets that sign them.

    Secrets are stored in clear text: signing needs them.
    """

    id: str
    name: str
    url: str
    event_types: list[str]
    secret: str
    created_at: int
    updated_at: int
    old_secret: str | None = None
    old_secret_until: int = 0

    def secrets(self, now: int) -> list[str]:
        """Return the secrets that sign at this time, the newest first."""
        old = self.old_secret if now < self.old_secret_until else None
        return [self.secret, *([old] if old else [])]


class EndpointStore:
    """The stored endpoints of a project."""

    def __init__(self, ledger: Ledger) -> None:
        """Use the project of `ledger`."""
        self._ledger = ledger
        self._storage = ledger.storage

    def create(self, name: str, url: str, event_types: list[str]) -> Endpoint:
        """Add an endpoint with a new secret.

        Raises:
            UsageError: the project has the maximum number of endpoints.

        """
        if len(list(self)) >= _MAX_ENDPOINTS:
            message = f"A project has up to {_MAX_ENDPOINTS} webhook endpoints."
            raise UsageError(message, hint="delete one that is no longer needed")
        now = self._ledger.now()
        endpoint = Endpoint(
            id=new_webhook_id(),
            name=name,
            url=url,
            event_types=event_types,
            secret=_new_secret(),
            created_at=now,
            updated_at=now,
        )
        self._write(endpoint)
        return endpoint

    def get(self, endpoint_id: str) -> Endpoint:
        """Return an endpoint. Raises `NotFoundError`."""
        try:
            key = self._key(checked_id("webhook", endpoint_id))
            return records.decode(Endpoint, self._storage.get(key), key)
        except ObjectMissingError:
            message = f"no such webhook endpoint: `{endpoint_id}`"
            hint = "`GET /v1/webhook_endpoints` lists those that exist"
            raise NotFoundError(message, hint=hint) from None

    def change(self, endpoint_id: str, **changes: Any) -> Endpoint:
        """Change an endpoint's name, URL or events. Raises `NotFoundError`."""
        before = self.get(endpoint_id)
        after = msgspec.structs.replace(before, **changes)
        if after != before:
            after = msgspec.structs.replace(after, updated_at=self._ledger.now())
            self._write(after)
        return after

    def rotate(self, endpoint_id: str, *, keep_old: bool) -> Endpoint:
        """Replace the secret; with `keep_old` the old one also signs for a day."""
        before = self.get(endpoint_id)
        until = self._ledger.now() + _OLD_SECRET_SECONDS if keep_old else 0
        return self.change(
            endpoint_id,
            secret=_new_secret(),
            old_secret=before.secret if keep_old else None,
            old_secret_until=until,
        )

    def delete(self, endpoint_id: str) -> None:
        """Remove an endpoint. Raises `NotFoundError`."""
        self._storage.delete(self._key(self.get(endpoint_id).id))

    def exist(self) -> bool:
        """Return whether the project has any endpoint."""
        return next(iter(self._entries()), None) is not None

    def __iter__(self) -> Iterator[Endpoint]:
        """Yield the endpoints, newest first."""
        for key in reversed(list(self._entries())):
            try:
                yield records.decode(Endpoint, self._storage.get(key), key)
            except ObjectMissingError:  # deleted since it was listed
                continue

    def _entries(self) -> Iterator[str]:
        prefix = f"{self._ledger.keys.webhooks()}/"
        return (entry.key for entry in self._storage.list(prefix))

    def _write(self, endpoint: Endpoint) -> None:
        self._storage.put(self._key(endpoint.id), records.encode(endpoint))

    def _key(self, endpoint_id: str) -> str:
        return f"{self._ledger.keys.webhooks()}/{endpoint_id}.json"


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
