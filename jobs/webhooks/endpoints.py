"""Webhook endpoints: where a project wants to hear that a batch has ended.

The signature is that of https://www.standardwebhooks.com, which OpenAI's clients check.
"""

import base64
import hmac
import secrets
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec

from batchchat.jobs.errors import NotFoundError, ObjectMissingError, UsageError
from batchchat.jobs.ids import checked_id, new_webhook_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger, State

EVENT_TYPES = ("batch.completed", "batch.failed", "batch.expired", "batch.cancelled")

_MAX_ENDPOINTS = 20
"""Endpoints per project: each is called for each batch."""

_OLD_SECRET_SECONDS = 86_400
"""Seconds for which a replaced secret may still sign, if its owner wishes so."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where events go, and what signs them; the secrets must be kept to sign."""

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
        """Return the secrets that sign at this moment."""
        old = self.old_secret if now < self.old_secret_until else None
        return [self.secret, *([old] if old else [])]


class EndpointStore:
    """The endpoints of a project."""

    def __init__(self, ledger: Ledger) -> None:
        """Use the project that `ledger` serves."""
        self._ledger = ledger
        self._storage = ledger.storage

    def create(self, name: str, url: str, event_types: list[str]) -> Endpoint:
        """Add an endpoint, with a secret of its own.

        Raises:
            UsageError: there are as many as there may be.

        """
        if len(list(self)) >= _MAX_ENDPOINTS:
            message = (
                f"A project has up to {_MAX_ENDPOINTS} webhook endpoints: delete one."
            )
            raise UsageError(message)
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
            raise NotFoundError(message) from None

    def change(self, endpoint_id: str, **changes: Any) -> Endpoint:
        """Change an endpoint's name, URL or events. Raises `NotFoundError`."""
        before = self.get(endpoint_id)
        after = msgspec.structs.replace(before, **changes)
        if after != before:
            after = msgspec.structs.replace(after, updated_at=self._ledger.now())
            self._write(after)
        return after

    def rotate(self, endpoint_id: str, *, keep_old: bool) -> Endpoint:
        """Give it another secret; the old one may sign beside it for a day."""
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
        """Say whether there is any."""
        top = f"{self._ledger.keys.webhooks()}/"
        return next(iter(self._storage.list(top)), None) is not None

    def __iter__(self) -> Iterator[Endpoint]:
        """Yield them, newest first."""
        top = f"{self._ledger.keys.webhooks()}/"
        for entry in reversed(list(self._storage.list(top))):
            try:
                yield records.decode(Endpoint, self._storage.get(entry.key), entry.key)
            except ObjectMissingError:
                continue

    def _write(self, endpoint: Endpoint) -> None:
        self._storage.put(self._key(endpoint.id), records.encode(endpoint))

    def _key(self, endpoint_id: str) -> str:
        return f"{self._ledger.keys.webhooks()}/{endpoint_id}.json"


class Event(msgspec.Struct, frozen=True):
    """Something that has happened, as it is sent: the same body at every try."""

    id: str
    type: str
    body: bytes

    def headers(self, endpoint: Endpoint, now: int) -> dict[str, str]:
        """Return the headers that let the endpoint trust the body."""
        return {
            "content-type": "application/json",
            "webhook-id": self.id,
            "webhook-timestamp": f"{now}",
            "webhook-signature": " ".join(
                _signature(secret, self.id, now, self.body)
                for secret in endpoint.secrets(now)
            ),
        }


def event_of(state: State, now: int) -> Event:
    """Return the event of a batch that has ended."""
    ended = state.final or state.require_plan()
    return event(f"batch.{state.status}", state.batch.id, ended.created_at or now)


def event(kind: str, batch_id: str, created_at: int) -> Event:
    """Return OpenAI's event; its id tells a receiver what came twice."""
    event_id = f"evt_{sha256(f'{kind}:{batch_id}'.encode()).hexdigest()[:32]}"
    body = {
        "id": event_id,
        "object": "event",
        "created_at": created_at,
        "type": kind,
        "data": {"id": batch_id},
    }
    return Event(event_id, kind, msgspec.json.encode(body))


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def _signature(secret: str, event_id: str, now: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b"%b.%d.%b" % (event_id.encode(), now, body)
    digest = hmac.new(key, signed, sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
