"""Leaves a trail of each request: an id for the client, a line in the log.

The line says who asked for which route and what came of it, never what was in it.
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
    """Wraps an application."""

    def __init__(self, app: ASGIApp) -> None:
        """Log what `app` answers."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
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
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:  # a bug of ours; the client gets an answer all the same
            _logger.exception("%s failed", request_id)
            if status:  # half of an answer is out, and only a cut can say so
                raise
            answer = error_response(ApiError(500, "Something went wrong here."))
            await answer(scope, receive, send_with_headers)
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
    """Return the method; one that somebody made up is no name of a series."""
    method: str = scope["method"]
    return method if method in _METHODS else "other"


def _route(scope: Scope) -> str:
    """Return the route's template, which names no object."""
    return getattr(scope.get("route"), "path", "unknown")
