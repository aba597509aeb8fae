"""Error responses in OpenAI's format: `{"error": {message, type, param, code}}`.

Errors are mapped by class, never by text. Hints are left out: they name commands that
a client of the API may not have.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from batchchat.api.http.json_response import JsonResponse
from batchchat.jobs.access.idempotency import ReusedKeyError
from batchchat.jobs.errors import (
    BatchchatError,
    ConflictError,
    LimitExceededError,
    ModelNotFoundError,
    NewerFormatError,
    NotFoundError,
    StorageError,
    UsageError,
)

_logger = logging.getLogger(__name__)

NO_RETRY = {"x-should-retry": "false"}
"""Keeps OpenAI's clients from retrying a request that cannot succeed."""

_FORBIDDEN = {"max_stored_bytes", "max_priority"}
"""Limits of projects that waiting does not help against."""

_CLIENT_CLOSED_REQUEST = 499

_MESSAGES = {
    NewerFormatError.code: "A newer version of batchchat has written this object."
    " Upgrade the server."
}


class ApiError(Exception):
    """An error response."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Describe an error: `param` is the invalid field, `code` the kind of error."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = dict(headers or {})


def error_response(error: ApiError) -> Response:
    """Return the HTTP response for an error."""
    body = {
        "message": error.message,
        "type": _error_type(error.status),
        "param": error.param,
        "code": error.code,
    }
    return JsonResponse({"error": body}, error.status, error.headers)


def to_api_error(error: BatchchatError) -> ApiError:
    """Return the error response for a batchchat error."""
    message = error.message
    match error:
        case NotFoundError() | ModelNotFoundError():
            return ApiError(404, message, code=error.code)
        case LimitExceededError() | ReusedKeyError():
            return ApiError(_status(error), message, code=error.code, headers=NO_RETRY)
        case ConflictError():
            return ApiError(409, message, headers=NO_RETRY)
        case UsageError():
            return ApiError(400, message, code=error.code)
        case StorageError(retryable=True):
            message = "The storage is unreachable. Try again in a few seconds."
            return ApiError(503, message, code=error.code, headers={"retry-after": "2"})
        case _:
            message = _MESSAGES.get(error.code, "Internal server error.")
            return ApiError(500, message, code=error.code)


def _status(error: LimitExceededError | ReusedKeyError) -> int:
    if isinstance(error, ReusedKeyError):
        return HTTPStatus.UNPROCESSABLE_ENTITY
    is_forbidden = error.limit in _FORBIDDEN
    return HTTPStatus.FORBIDDEN if is_forbidden else HTTPStatus.TOO_MANY_REQUESTS


def add_error_handlers(app: FastAPI) -> None:
    """Make `app` answer every kind of error in OpenAI's format."""

    @app.exception_handler(ApiError)
    async def _on_api_error(_: Request, error: ApiError) -> Response:
        return error_response(error)

    @app.exception_handler(BatchchatError)
    async def _on_batchchat_error(_: Request, error: BatchchatError) -> Response:
        mapped = to_api_error(error)
        if mapped.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _logger.error("%s: %s", error.code, error.message)
        return error_response(mapped)

    @app.exception_handler(HTTPException)
    async def _on_http_exception(request: Request, error: HTTPException) -> Response:
        return error_response(_routing_error(request, error))

    @app.exception_handler(RequestValidationError)
    async def _on_invalid_parameters(
        _: Request, error: RequestValidationError
    ) -> Response:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:])
        message = f"Invalid value for '{param}': {first['msg']}."
        return error_response(ApiError(400, message, param=param, code="invalid_value"))

    @app.exception_handler(ClientDisconnect)
    async def _on_disconnect(_: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)


def _routing_error(request: Request, error: HTTPException) -> ApiError:
    where = f"{request.method} {request.url.path[:200]}"
    if error.status_code == HTTPStatus.NOT_FOUND:
        message = f"Unknown request URL: {where}. Check the URL for typos."
        message += " Chat completions are served through /v1/batches."
        return ApiError(404, message, code="unknown_url")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        message = f"Method not allowed: {where}. See /docs for the available routes."
        headers = {"allow": ", ".join(sorted(_methods(request)))}
        return ApiError(405, message, code="method_not_allowed", headers=headers)
    return ApiError(error.status_code, str(error.detail), headers=error.headers or {})


def _methods(request: Request) -> set[str]:
    """Return the methods of all routes that match the URL, not only of the first."""
    return {
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.path_regex.match(request.url.path)
        for method in route.methods or ()
    }


def _error_type(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return "server_error" if is_server_error else "invalid_request_error"
