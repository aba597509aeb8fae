"""The client of the server at BATCHCHAT_URL."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from batchchat.cli.client.http_errors import connection_error, error_from_response
from batchchat.cli.client.retry import RetryBudget
from batchchat.jobs.errors import ConfigError, ServerError

T = TypeVar("T")

_CONNECT_TIMEOUT_SECONDS = 10.0
_TIMEOUT_SECONDS = 60.0
_SLOW_TIMEOUT_SECONDS = 600.0
"""For responses that the server computes from a whole batch."""


class ServerClient:
    """Sends HTTP requests, and translates every error.

    Raises:
        ConfigError: the URL is invalid, the key is rejected, or the server is another.
        NotFoundError, ConflictError, UsageError: the server rejects the request.
        ServerError: the server is unavailable or failed; a retry may succeed.

    """

    def __init__(
        self,
        url: str,
        key: str | None,
        retry_seconds: float = 0.0,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Use the server at `url`; retry important requests for `retry_seconds`."""
        self.root = _parse_root(url)
        """The server's URL without `/v1`."""

        self.url = f"{self.root}/v1"
        self._retry_seconds = retry_seconds
        headers = {
            "user-agent": f"batchchat/{version('batchchat')}",
            "accept-encoding": "identity",  # range offsets refer to the file's bytes
        }
        if key is not None:
            headers["authorization"] = f"Bearer {_checked_key(key)}"
        timeout = httpx.Timeout(_TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS)
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout, transport=transport
        )

    def get(self, path: str, **params: Any) -> bytes:
        """Return the body of the response."""
        with self.stream("GET", path, params=params) as response:
            return response.read()

    def post(
        self, path: str, body: bytes = b"", *, idempotency_key: str | None = None
    ) -> bytes:
        """Post JSON and return the body of the response.

        With an idempotency key, the request is retried while the server is unavailable.
        """
        headers = {"content-type": "application/json"} if body else {}
        if idempotency_key is not None:
            headers["idempotency-key"] = idempotency_key
        is_idempotent = idempotency_key is not None

        def send() -> bytes:
            with self.stream(
                "POST", path, headers=headers, content=body, is_slow=is_idempotent
            ) as response:
                return response.read()

        return self.retry_while_unavailable(send) if is_idempotent else send()

    def delete(self, path: str, **params: Any) -> bytes:
        """Delete a resource; return the body of the response."""
        with self.stream("DELETE", path, params=params) as response:
            return response.read()

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        is_slow: bool = False,
        **body: Any,
    ) -> Iterator[httpx.Response]:
        """Send a request, and yield its successful response for reading.

        `body` is `content`, or `data` and `files`, as in httpx. `is_slow` allows the
        server ten minutes to begin its response.
        """
        read = _SLOW_TIMEOUT_SECONDS if is_slow else _TIMEOUT_SECONDS
        timeout = httpx.Timeout(
            _TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS, read=read
        )
        try:
            with self._http.stream(
                method, path, params=params, headers=headers, timeout=timeout, **body
            ) as response:
                if not response.is_success:
                    raise error_from_response(response, self.url)
                yield response
        except httpx.HTTPError as error:
            raise connection_error(error, self.url) from None

    def retry_budget(self) -> RetryBudget:
        """Return a new budget for retries."""
        return RetryBudget(self._retry_seconds)

    def retry_while_unavailable(self, action: Callable[[], T]) -> T:
        """Return the result of `action`; repeat it on `ServerError` for some time."""
        budget = self.retry_budget()
        while True:
            try:
                return action()
            except ServerError as error:
                budget.wait(error)


def _parse_root(url: str) -> str:
    """Return the server's URL without `/v1`, which OpenAI's clients expect."""
    if "@" in url:
        raise ConfigError(
            "BATCHCHAT_URL must not contain credentials",
            hint="remove them, and set BATCHCHAT_API_KEY instead",
        )
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and bool(httpx.URL(url).host)
        is_valid = is_valid and not (parts.query or parts.fragment) and parts.port != 0
    except (httpx.InvalidURL, ValueError):
        is_valid = False
    if not is_valid:
        raise ConfigError(
            f"BATCHCHAT_URL: `{url}` is not a valid server URL",
            hint="set it, for example with"
            " `export BATCHCHAT_URL=http://127.0.0.1:8000`",
        )
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def _checked_key(key: str) -> str:
    if not re.fullmatch(r"[!-~]+", key.strip()):
        raise ConfigError(
            "BATCHCHAT_API_KEY is not a valid key: it must consist of printable ASCII"
            " characters without spaces",
            hint="copy the key that `batchchat keys create` printed",
        )
    return key.strip()
