"""Without API keys, only programs on the same machine may use the server.

Any web page can make a browser on this machine send requests, and a proxy on this
machine forwards requests of others. Both leave traces in the headers:

- `Host` names another server: DNS rebinding, or a proxy that keeps the name.
- `Origin` and `Sec-Fetch-Site`: a page of another server.
- `Forwarded`, `X-Forwarded-*`, `Via` and similar headers: a proxy.
"""

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from batchchat.api.http.errors import ApiError, error_response, to_api_error
from batchchat.jobs.errors import BatchchatError

_HOST = re.compile(
    r"(localhost|[\d.]+|\[[\da-f.]*:[\da-f.:]*\])(?::(\d{1,5}))?", re.ASCII
)
_MAX_PORT = 65_535

_FOREIGN_SITES = {"cross-site", "same-site"}
_PROXY_PREFIX = "x-forwarded"
_PROXY_HEADERS = {
    *("forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip"),
    *("x-original-host", "x-original-forwarded-for", "true-client-ip"),
    *("cf-connecting-ip", "fastly-client-ip", "fly-client-ip"),
}


class LocalRequests:
    """ASGI middleware that refuses web pages and proxies as long as no key exists."""

    def __init__(self, app: ASGIApp) -> None:
        """Guard all routes of `app`, also those that need no key."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with an error."""
        error = await _error(scope)
        app = self._app if error is None else error_response(error)
        await app(scope, receive, send)


async def _error(scope: Scope) -> ApiError | None:
    """Return the error for a request that needs a key, None if it needs none.

    Most requests bear no trace, so they do not wait for the storage.
    """
    trace = _foreign_trace(scope)
    if trace is None:
        return None
    try:
        if not await scope["app"].state.authenticator.is_keyless():
            return None
    except BatchchatError as error:
        return to_api_error(error)
    message = "Without API keys this server accepts requests from programs on the"
    message += f" same machine only, and {trace}. Create a key with"
    return ApiError(403, f"{message} `batchchat keys create`.", code="keys_needed")


def _foreign_trace(scope: Scope) -> str | None:
    """Return how a request shows that no local program made it, None if it does not."""
    if not scope["path"].startswith("/"):
        return "this one is addressed to a proxy"
    headers = [
        (name.decode("latin-1").lower(), value.decode("latin-1").strip().lower())
        for name, value in scope["headers"]
    ]
    hosts = list(_values(headers, "host"))
    if len(hosts) != 1 or not _is_local(hosts[0]):
        named = ", ".join(f"'{host[:80]}'" for host in hosts) or "none"
        return f"the `Host` of this one ({named}) is not this machine"
    for name, _ in headers:
        if name.startswith(_PROXY_PREFIX) or name in _PROXY_HEADERS:
            return f"a proxy has added `{name[:80]}` to this one"
    own_page = {f"http://{hosts[0]}"}
    if set(_values(headers, "origin")) - own_page:
        return "this one comes from a web page (`Origin`)"
    if _FOREIGN_SITES & set(_values(headers, "sec-fetch-site")):
        return "this one comes from a web page (`Sec-Fetch-Site`)"
    return None


def _values(headers: Iterable[tuple[str, str]], wanted: str) -> Iterator[str]:
    return (value for name, value in headers if name == wanted)


def _is_local(host: str) -> bool:
    """Return whether a `Host` is a name of this machine that no DNS server decides."""
    match = _HOST.fullmatch(host)
    if match is None or int(match[2] or 0) > _MAX_PORT:
        return False
    try:
        return match[1] == "localhost" or ip_address(match[1].strip("[]")).is_loopback
    except ValueError:
        return False
