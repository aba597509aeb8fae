"""Liveness and readiness probes."""

from anyio import to_thread
from fastapi import APIRouter
from starlette.responses import Response

from batchchat.api.context import AppContext
from batchchat.api.http.auth import Context
from batchchat.api.http.errors import ApiError
from batchchat.api.http.json_response import JsonResponse
from batchchat.api.http.schemas import ErrorResponse
from batchchat.jobs.errors import BatchchatError

router = APIRouter(tags=["operations"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def liveness() -> Response:
    """Return 200 as long as the process runs (liveness)."""
    return JsonResponse({"status": "ok"})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"model": ErrorResponse}})
async def readiness(context: Context) -> Response:
    """Return 200 if the storage and the broker, if any, are reachable (readiness)."""
    await to_thread.run_sync(_check, context)
    return JsonResponse({"status": "ok"})


def _check(context: AppContext) -> None:
    try:
        context.keys.exist()
    except BatchchatError as error:
        message = "The storage is unreachable."
        raise ApiError(503, message, code=error.code) from None
    if context.settings.broker is not None:
        _check_broker(context.settings.broker)


def _check_broker(url: str) -> None:
    import redis

    try:
        with redis.Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=2
        ) as broker:
            broker.ping()
    except (redis.RedisError, ValueError):
        message = "The broker is unreachable."
        raise ApiError(503, message, code="broker_error") from None
