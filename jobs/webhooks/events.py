"""Events that webhooks deliver: OpenAI's bodies, signed as Standard Webhooks.

The signature is that of https://www.standardwebhooks.com, which OpenAI's clients
verify.
"""

import base64
import hmac
from hashlib import sha256

import msgspec

from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.state import State
from batchchat.jobs.webhooks.endpoints import Endpoint

EVENT_TYPES = ("batch.completed", "batch.failed", "batch.expired", "batch.cancelled")


class Event(msgspec.Struct, frozen=True):
    """An event as it is sent; every attempt sends the same body."""

    id: str
    type: str
    body: bytes

    def headers(self, endpoint: Endpoint, now: int) -> dict[str, str]:
        """Return the headers with the signature that the endpoint verifies."""
        return {
            "content-type": "application/json",
            "webhook-id": self.id,
            "webhook-timestamp": f"{now}",
            "webhook-signature": " ".join(
                _signature(secret, self.id, now, self.body)
                for secret in endpoint.secrets(now)
            ),
        }


def make_event(event_type: str, batch_id: str, created_at: int) -> Event:
    """Return OpenAI's event; the id lets receivers recognize a repeated delivery."""
    event_id = f"evt_{sha256(f'{event_type}:{batch_id}'.encode()).hexdigest()[:32]}"
    body = {
        "id": event_id,
        "object": "event",
        "created_at": created_at,
        "type": event_type,
        "data": {"id": batch_id},
    }
    return Event(event_id, event_type, encode(body))


def batch_event(state: State, now: int) -> Event:
    """Return the event for a batch that has ended."""
    ended = state.final or state.require_plan()
    return make_event(f"batch.{state.status}", state.batch.id, ended.created_at or now)


def _signature(secret: str, event_id: str, now: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b"%b.%d.%b" % (event_id.encode(), now, body)
    digest = hmac.new(key, signed, sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
