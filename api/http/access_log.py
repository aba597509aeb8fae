"""Adds headers to each response and writes a line about it to the access log.

The line has the project, the route and the status, never the content of a request.
"""

import logging
import time
from http import HTTPMethod
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchchat.api.http.errors import ApiError, error_response

_logger = logging.getLogger("batchchat.access")
_METHODS = frozenset(HTTPMethod)
_PROBE_PATHS = {"/healthz", "/readyz", "/metrics"}


class AccessLog:
    """ASGI middleware that logs, counts and identifies requests."""

    def __init__(self, app: ASGIApp) -> None:
        """Log the requests of `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{uuid4().hex}"
        started = time.perf_counter()
        status, seconds = 0, 0.0

        async def send_with_headers(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                seconds = time.perf_counter() - started
                headers["openai-processing-ms"] = f"{seconds * 1e3:.0f}"
                headers.update(scope.get("state", {}).get("rate_limit", {}))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:  # a bug; the client still gets an error response
            _logger.exception("%s failed", request_id)
            if status:  # the response has begun, so only a closed connection can tell
                raise
            response = error_response(ApiError(500, "Internal server error."))
            await response(scope, receive, send_with_headers)
        finally:
            _log(scope, request_id, status, time.perf_counter() - started)
            metrics = scope["app"].state.metrics
            metrics.count(_method(scope), _route(scope), status, seconds)


def _log(scope: Scope, request_id: str, status: int, seconds: float) -> None:
    path = _route(scope)
    level = logging.DEBUG if path in _PROBE_PATHS else logging.INFO
    fields = {
        "event": "request_answered",
        "request_id": request_id,
        "method": _method(scope),
        "route": path,
        "status": status,
        "ms": round(seconds * 1e3, 1),
        "project": scope.get("state", {}).get("project"),
        **scope.get("path_params", {}),
    }
    text = f"{fields['method']} {scope['path'][:200]!r} {status} {fields['ms']} ms"
    _logger.log(level, text, extra={"fields": fields})


def _method(scope: Scope) -> str:
    """Return the method; unknown ones share one metric series."""
    method: str = scope["method"]
    return method if method in _METHODS else "other"


def _route(scope: Scope) -> str:
    """Return the route's template, which contains no ids."""
    return getattr(scope.get("route"), "path", "unknown")
