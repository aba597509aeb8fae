"""Request bodies must be marked as JSON, except for uploads.

Web pages can send other content types to any server without asking it first.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from batchchat.api.http.errors import ApiError, error_response

_JSON = "application/json"
_UPLOAD_PATH = "/v1/files"


class JsonBodies:
    """ASGI middleware that refuses bodies of other content types."""

    def __init__(self, app: ASGIApp) -> None:
        """Guard all routes of `app` but the upload, which takes a form."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with an error."""
        headers = Headers(scope=scope)
        if scope["path"] == _UPLOAD_PATH or not _has_body(headers) or _is_json(headers):
            await self._app(scope, receive, send)
            return
        message = f"The request body must be JSON with content type `{_JSON}`."
        error = ApiError(415, message, code="unsupported_content_type")
        await error_response(error)(scope, receive, send)


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _is_json(headers: Headers) -> bool:
    kinds = headers.getlist("content-type")
    return [kind.partition(";")[0].strip().lower() for kind in kinds] == [_JSON]
