"""Routes with and without a trailing slash are the same."""

from starlette.types import ASGIApp, Receive, Scope, Send


class TrailingSlash:
    """Middleware that removes trailing slashes from the path.

    A redirect would not do: clients repeat a redirected POST as a GET.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and scope["path"].endswith("/"):
            scope["path"] = scope["path"].rstrip("/") or "/"
        await self._app(scope, receive, send)
