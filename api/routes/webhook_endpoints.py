"""/v1/webhook_endpoints, as OpenAI's newest clients have them."""

from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from batchchat.api.context import Service
from batchchat.api.http.auth import Mine, Parts
from batchchat.api.http.errors import ApiError
from batchchat.api.http.json_response import Json, list_object
from batchchat.api.http.request_body import body_of, checked, read_json
from batchchat.api.http.schemas import (
    DeletedWebhook,
    EventTypes,
    Webhook,
    WebhookList,
    WebhookTest,
    WebhookWithSecret,
    errors,
)
from batchchat.api.webhooks.safe_post import PostError, checked_url, post
from batchchat.jobs.ids import checked_id
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.webhooks.endpoints import EVENT_TYPES, Endpoint, Endpoints, event

router = APIRouter(prefix="/v1", tags=["webhooks"])

_strict = ConfigDict(extra="forbid", strict=True)

EventType = Literal[
    "batch.completed", "batch.failed", "batch.expired", "batch.cancelled"
]
Types = Annotated[list[EventType], Field(min_length=1, max_length=len(EVENT_TYPES))]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Url = Annotated[str, Field(min_length=1, max_length=2_048)]


class CreateWebhook(BaseModel):
    """An endpoint that is to hear of events."""

    model_config = _strict

    name: Name
    url: Url
    event_types: Types


class UpdateWebhook(BaseModel):
    """What is to change."""

    model_config = _strict

    name: Name | None = None
    url: Url | None = None
    event_types: Types | None = None


class RotateSecret(BaseModel):
    """Whether the old secret signs beside the new one for a day."""

    model_config = _strict

    keep_old_secret_active_for_24_hours: bool = False


class TestWebhook(BaseModel):
    """Which event to send a sample of."""

    model_config = _strict

    event_type: EventType


@router.get("/webhook_event_types", responses={200: {"model": EventTypes}, **errors()})
def list_event_types(_: Mine) -> Response:
    """List the events that there are."""
    return Json({"object": "list", "data": EVENT_TYPES})


@router.get(
    "/webhook_endpoints", responses={200: {"model": WebhookList}, **errors(404)}
)
def list_webhooks(
    mine: Mine,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """List the endpoints, newest first."""
    if after is not None:
        checked_id("webhook", after)
    all_ = [one for one in Endpoints(mine) if after is None or one.id < after]
    page = all_[:limit]
    ids = [one.id for one in page]
    return list_object([_shown(one) for one in page], ids, has_more=len(all_) > limit)


@router.post(
    "/webhook_endpoints",
    openapi_extra=body_of(CreateWebhook),
    responses={200: {"model": WebhookWithSecret}, **errors(408, 413, 415)},
)
async def create_webhook(request: Request, mine: Mine, parts: Parts) -> Response:
    """Add an endpoint; its secret is shown here and never again."""
    asked = checked(CreateWebhook, await read_json(request))
    _check_url(parts, asked.url)
    endpoint = await to_thread.run_sync(
        Endpoints(mine).create, asked.name, asked.url, _unique(asked.event_types)
    )
    return Json(_shown(endpoint) | {"signing_secret": endpoint.secret})


@router.get(
    "/webhook_endpoints/{webhook_id}",
    responses={200: {"model": Webhook}, **errors(404)},
)
def retrieve_webhook(webhook_id: str, mine: Mine) -> Response:
    """Say what an endpoint is."""
    return Json(_shown(Endpoints(mine).get(webhook_id)))


@router.post(
    "/webhook_endpoints/{webhook_id}",
    openapi_extra=body_of(UpdateWebhook),
    responses={200: {"model": Webhook}, **errors(404, 408, 413, 415)},
)
async def update_webhook(
    webhook_id: str, request: Request, mine: Mine, parts: Parts
) -> Response:
    """Change an endpoint."""
    asked = checked(UpdateWebhook, await read_json(request))
    changes: dict[str, Any] = asked.model_dump(exclude_none=True)
    if asked.url is not None:
        _check_url(parts, asked.url)
    if asked.event_types is not None:
        changes["event_types"] = _unique(asked.event_types)

    def change() -> Endpoint:
        return Endpoints(mine).change(webhook_id, **changes)

    return Json(_shown(await to_thread.run_sync(change)))


@router.delete(
    "/webhook_endpoints/{webhook_id}",
    responses={200: {"model": DeletedWebhook}, **errors(404)},
)
def delete_webhook(webhook_id: str, mine: Mine) -> Response:
    """Remove an endpoint."""
    Endpoints(mine).delete(webhook_id)
    return Json(
        {"id": webhook_id, "object": "webhook_endpoint.deleted", "deleted": True}
    )


@router.post(
    "/webhook_endpoints/{webhook_id}/rotate_secret",
    openapi_extra=body_of(RotateSecret),
    responses={200: {"model": WebhookWithSecret}, **errors(404, 408, 413, 415)},
)
async def rotate_secret(webhook_id: str, request: Request, mine: Mine) -> Response:
    """Give an endpoint another secret."""
    asked = checked(RotateSecret, await read_json(request))
    keep_old = asked.keep_old_secret_active_for_24_hours

    def rotate() -> Endpoint:
        return Endpoints(mine).rotate(webhook_id, keep_old=keep_old)

    endpoint = await to_thread.run_sync(rotate)
    return Json(_shown(endpoint) | {"signing_secret": endpoint.secret})


@router.post(
    "/webhook_endpoints/{webhook_id}/test",
    openapi_extra=body_of(TestWebhook),
    responses={200: {"model": WebhookTest}, **errors(404, 408, 413, 415)},
)
async def test_webhook(
    webhook_id: str, request: Request, mine: Mine, parts: Parts
) -> Response:
    """Send an endpoint a sample."""
    asked = checked(TestWebhook, await read_json(request))
    status = await to_thread.run_sync(
        _send_sample,
        parts,
        mine,
        webhook_id,
        asked.event_type,
        limiter=request.app.state.samplers,
    )
    return Json(
        {
            "object": "webhook_endpoint.test",
            "webhook_endpoint_id": webhook_id,
            "event_type": asked.event_type,
            "status_code": status,
            "success": True,
        }
    )


def _send_sample(service: Service, ledger: Ledger, webhook_id: str, kind: str) -> int:
    endpoint = Endpoints(ledger).get(webhook_id)
    now = ledger.now()
    sample = event(kind, f"batch_{'0' * 32}", now)
    try:
        return post(
            endpoint.url,
            sample.body,
            sample.headers(endpoint, now),
            anywhere=service.settings.webhooks_anywhere,
        )
    except PostError as error:
        message = f"The sample could not be sent: {error.message}."
        raise ApiError(400, message, param="url", code=error.code) from None


def _check_url(service: Service, url: str) -> None:
    try:
        checked_url(url, anywhere=service.settings.webhooks_anywhere)
    except PostError as error:
        message = f"Invalid value for 'url': {error.message}."
        raise ApiError(400, message, param="url", code="invalid_value") from None


def _unique(event_types: list[EventType]) -> list[str]:
    return list(dict.fromkeys(event_types))


def _shown(endpoint: Endpoint) -> dict[str, Any]:
    """Return OpenAI's object, which hints at the secret and does not tell it."""
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": endpoint.event_types,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
        "signing_secret_hint": f"whsec_…{endpoint.secret[-4:]}",
    }
