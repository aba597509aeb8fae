"""Whether the server is alive, and whether it can do its work."""

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
async def alive() -> Response:
    """Answer, which is all there is to it."""
    return JsonResponse({"status": "ok"})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"model": ErrorResponse}})
async def ready(context: Context) -> Response:
    """Say whether the storage and the broker, if there is one, can be reached."""
    await to_thread.run_sync(_check, context)
    return JsonResponse({"status": "ok"})


def _check(context: AppContext) -> None:
    try:
        context.keys.exist()
    except BatchchatError as error:
        message = "The storage can't be reached."
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
        message = "The broker can't be reached."
        raise ApiError(503, message, code="broker_error") from None
