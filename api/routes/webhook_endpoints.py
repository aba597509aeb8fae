"""/v1/webhook_endpoints, compatible with `client.webhooks` of OpenAI's clients."""

import logging
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from batchchat.api.context import AppContext
from batchchat.api.http.auth import Context, ProjectLedger
from batchchat.api.http.errors import ApiError
from batchchat.api.http.json_response import JsonResponse
from batchchat.api.http.paging import AfterId, PageSize, list_object
from batchchat.api.http.request_body import (
    read_json,
    request_body_schema,
    validate_body,
)
from batchchat.api.http.schemas import (
    DeletedWebhookEndpoint,
    EventTypes,
    WebhookEndpoint,
    WebhookEndpointList,
    WebhookEndpointWithSecret,
    WebhookTest,
    errors,
)
from batchchat.api.webhooks.safe_post import WebhookError, safe_post, validate_url
from batchchat.jobs.ids import checked_id
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.webhooks.endpoints import Endpoint, EndpointStore
from batchchat.jobs.webhooks.events import EVENT_TYPES, make_event

_logger = logging.getLogger(__name__)

_UNREACHABLE = (
    "The test event could not be sent. The host must have public addresses only, accept"
    " TLS connections with a valid certificate, and respond within ten seconds."
)

router = APIRouter(prefix="/v1", tags=["webhooks"])

_strict = ConfigDict(extra="forbid", strict=True)

EventType = Literal[
    "batch.completed", "batch.failed", "batch.expired", "batch.cancelled"
]
Types = Annotated[list[EventType], Field(min_length=1, max_length=len(EVENT_TYPES))]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Url = Annotated[str, Field(min_length=1, max_length=2_048)]


class CreateWebhookEndpoint(BaseModel):
    """A webhook endpoint to register."""

    model_config = _strict

    name: Name
    url: Url
    event_types: Types


class UpdateWebhookEndpoint(BaseModel):
    """Changes to a webhook endpoint; omitted fields keep their values."""

    model_config = _strict

    name: Name | None = None
    url: Url | None = None
    event_types: Types | None = None


class RotateSecret(BaseModel):
    """How to rotate a signing secret."""

    model_config = _strict

    keep_old_secret_active_for_24_hours: bool = Field(
        default=False, description="For 24 hours, sign events with the old secret, too."
    )


class TestWebhook(BaseModel):
    """Which test event to send."""

    model_config = _strict

    event_type: EventType


@router.get("/webhook_event_types", responses={200: {"model": EventTypes}, **errors()})
def list_webhook_event_types(_: ProjectLedger) -> Response:
    """List the event types that endpoints can receive."""
    return JsonResponse({"object": "list", "data": EVENT_TYPES})


@router.get(
    "/webhook_endpoints", responses={200: {"model": WebhookEndpointList}, **errors(404)}
)
def list_webhook_endpoints(
    ledger: ProjectLedger,
    after: AfterId = None,
    limit: PageSize = 20,
) -> Response:
    """List webhook endpoints, newest first."""
    if after is not None:
        checked_id("webhook", after)
    all_ = [one for one in EndpointStore(ledger) if after is None or one.id < after]
    page = all_[:limit]
    ids = [one.id for one in page]
    return list_object(
        [_endpoint_object(one) for one in page], ids, has_more=len(all_) > limit
    )


@router.post(
    "/webhook_endpoints",
    openapi_extra=request_body_schema(CreateWebhookEndpoint),
    responses={200: {"model": WebhookEndpointWithSecret}, **errors(408, 413, 415)},
)
async def create_webhook_endpoint(
    request: Request, ledger: ProjectLedger, context: Context
) -> Response:
    """Register a webhook endpoint.

    The response is the only one with the signing secret.
    """
    body = validate_body(CreateWebhookEndpoint, await read_json(request))
    _check_url(context, body.url)
    endpoint = await to_thread.run_sync(
        EndpointStore(ledger).create, body.name, body.url, _unique(body.event_types)
    )
    return JsonResponse(
        _endpoint_object(endpoint) | {"signing_secret": endpoint.secret}
    )


@router.get(
    "/webhook_endpoints/{webhook_id}",
    responses={200: {"model": WebhookEndpoint}, **errors(404)},
)
def retrieve_webhook_endpoint(webhook_id: str, ledger: ProjectLedger) -> Response:
    """Retrieve a webhook endpoint."""
    return JsonResponse(_endpoint_object(EndpointStore(ledger).get(webhook_id)))


@router.post(
    "/webhook_endpoints/{webhook_id}",
    openapi_extra=request_body_schema(UpdateWebhookEndpoint),
    responses={200: {"model": WebhookEndpoint}, **errors(404, 408, 413, 415)},
)
async def update_webhook_endpoint(
    webhook_id: str, request: Request, ledger: ProjectLedger, context: Context
) -> Response:
    """Update a webhook endpoint."""
    body = validate_body(UpdateWebhookEndpoint, await read_json(request))
    changes: dict[str, Any] = body.model_dump(exclude_none=True)
    if body.url is not None:
        _check_url(context, body.url)
    if body.event_types is not None:
        changes["event_types"] = _unique(body.event_types)

    def change() -> Endpoint:
        return EndpointStore(ledger).change(webhook_id, **changes)

    return JsonResponse(_endpoint_object(await to_thread.run_sync(change)))


@router.delete(
    "/webhook_endpoints/{webhook_id}",
    responses={200: {"model": DeletedWebhookEndpoint}, **errors(404)},
)
def delete_webhook_endpoint(webhook_id: str, ledger: ProjectLedger) -> Response:
    """Delete a webhook endpoint."""
    EndpointStore(ledger).delete(webhook_id)
    return JsonResponse(
        {"id": webhook_id, "object": "webhook_endpoint.deleted", "deleted": True}
    )


@router.post(
    "/webhook_endpoints/{webhook_id}/rotate_secret",
    openapi_extra=request_body_schema(RotateSecret),
    responses={200: {"model": WebhookEndpointWithSecret}, **errors(404, 408, 413, 415)},
)
async def rotate_webhook_endpoint_secret(
    webhook_id: str, request: Request, ledger: ProjectLedger
) -> Response:
    """Replace the signing secret of a webhook endpoint."""
    body = validate_body(RotateSecret, await read_json(request))
    keep_old = body.keep_old_secret_active_for_24_hours

    def rotate() -> Endpoint:
        return EndpointStore(ledger).rotate(webhook_id, keep_old=keep_old)

    endpoint = await to_thread.run_sync(rotate)
    return JsonResponse(
        _endpoint_object(endpoint) | {"signing_secret": endpoint.secret}
    )


@router.post(
    "/webhook_endpoints/{webhook_id}/test",
    openapi_extra=request_body_schema(TestWebhook),
    responses={200: {"model": WebhookTest}, **errors(404, 408, 413, 415)},
)
async def test_webhook_endpoint(
    webhook_id: str, request: Request, ledger: ProjectLedger, context: Context
) -> Response:
    """Send a test event to a webhook endpoint."""
    body = validate_body(TestWebhook, await read_json(request))
    status = await to_thread.run_sync(
        _send_test_event,
        context,
        ledger,
        webhook_id,
        body.event_type,
        limiter=request.app.state.webhook_test_limiter,
    )
    return JsonResponse(
        {
            "object": "webhook_endpoint.test",
            "webhook_endpoint_id": webhook_id,
            "event_type": body.event_type,
            "status_code": status,
            "success": True,
        }
    )


def _send_test_event(
    context: AppContext, ledger: Ledger, webhook_id: str, kind: str
) -> int:
    endpoint = EndpointStore(ledger).get(webhook_id)
    now = ledger.now()
    test_event = make_event(kind, f"batch_{'0' * 32}", now)
    try:
        return safe_post(
            endpoint.url,
            test_event.body,
            test_event.headers(endpoint, now),
            allow_private=context.settings.webhooks_allow_private,
        )
    except WebhookError as error:
        # The reason would tell a client which hosts and ports the server reaches.
        _logger.info("test of webhook %s failed: %s", webhook_id, error.message)
        raise ApiError(400, _UNREACHABLE, param="url", code=error.code) from None


def _check_url(context: AppContext, url: str) -> None:
    try:
        validate_url(url, allow_private=context.settings.webhooks_allow_private)
    except WebhookError as error:
        message = f"Invalid value for 'url': {error.message}."
        raise ApiError(400, message, param="url", code="invalid_value") from None


def _unique(event_types: list[EventType]) -> list[str]:
    return list(dict.fromkeys(event_types))


def _endpoint_object(endpoint: Endpoint) -> dict[str, Any]:
    """Return OpenAI's object, with only the end of the secret."""
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
