"""The server that BATCHCHAT_URL names: what is asked of it, and what goes wrong."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from batchchat.cli.client.http_errors import failure_of, unreachable
from batchchat.cli.client.retry import Patience
from batchchat.jobs.errors import ConfigError, ServerError

T = TypeVar("T")

_CONNECT, _ANSWER = 10.0, 60.0
_SLOW = 600.0
"""Seconds that an answer may take that has to be made from all of a batch."""


class Server:
    """Speaks HTTP; every error is one of ours.

    Raises:
        ConfigError: the URL is none, or no such server is there, or the key is wrong.
        NotFoundError, ConflictError, UsageError: as the server says.
        ServerError: it can't be reached, or failed; worth another try.

    """

    def __init__(self, url: str, key: str | None, patience: float = 0.0) -> None:
        """Ask the server at `url`, with `patience` seconds where much is at stake."""
        self.root = _root(url)
        """Where the server begins; its API does at `url`."""

        self.url = f"{self.root}/v1"
        self._patience = patience
        headers = {
            "user-agent": f"batchchat/{version('batchchat')}",
            "accept-encoding": "identity",  # so that offsets are those of the file
        }
        if key is not None:
            headers["authorization"] = f"Bearer {_checked_key(key)}"
        timeout = httpx.Timeout(_ANSWER, connect=_CONNECT)
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)

    def get(self, path: str, **params: Any) -> bytes:
        """Return the answer's body."""
        with self.stream("GET", path, params=params) as answer:
            return answer.read()

    def post(self, path: str, body: bytes = b"", *, key: str | None = None) -> bytes:
        """Post JSON; with an idempotency `key` again and again until it is answered."""
        headers = {"content-type": "application/json"} if body else {}

        def ask() -> bytes:
            with self.stream(
                "POST", path, headers=headers, content=body, slow=key is not None
            ) as answer:
                return answer.read()

        if key is None:
            return ask()
        headers["idempotency-key"] = key
        return self.insist(ask)

    def delete(self, path: str) -> None:
        """Delete what is there."""
        with self.stream("DELETE", path) as answer:
            answer.read()

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterator[bytes] = b"",
        slow: bool = False,
    ) -> Iterator[httpx.Response]:
        """Ask, and let the caller read the answer, which is no error.

        `slow` is for an answer that takes its time to begin.
        """
        read = _SLOW if slow else _ANSWER
        timeout = httpx.Timeout(_ANSWER, connect=_CONNECT, read=read)
        try:
            with self._http.stream(
                method,
                path,
                params=params,
                headers=headers,
                content=content,
                timeout=timeout,
            ) as answer:
                if not answer.is_success:
                    raise failure_of(answer, self.url)
                yield answer
        except httpx.HTTPError as error:
            raise unreachable(error, self.url) from None

    def patience(self) -> Patience:
        """Return a fresh patience, for what would be costly to give up."""
        return Patience(self._patience)

    def insist(self, action: Callable[[], T]) -> T:
        """Do `action` again while it fails and may succeed, until patience ends."""
        patience = self.patience()
        while True:
            try:
                return action()
            except ServerError as error:
                patience.wait(error)


def _root(url: str) -> str:
    """Return where a server begins; `url` may say `/v1`, as OpenAI's clients do."""
    if "@" in url:
        raise ConfigError(
            "BATCHCHAT_URL: it names a user, and a server knows keys only",
            hint="leave that out, and set BATCHCHAT_API_KEY to a key",
        )
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(httpx.URL(url).host)
        is_good = is_good and not (parts.query or parts.fragment) and parts.port != 0
    except (httpx.InvalidURL, ValueError):
        is_good = False
    if not is_good:
        raise ConfigError(
            f"BATCHCHAT_URL: `{url}` is no server's URL",
            hint="set it as in `export BATCHCHAT_URL=http://127.0.0.1:8000`",
        )
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def _checked_key(key: str) -> str:
    if not re.fullmatch(r"[!-~]+", key.strip()):
        raise ConfigError(
            "BATCHCHAT_API_KEY: this is no key: keys are made of ASCII letters,"
            " digits and signs",
            hint="copy it again as `batchchat keys create` has printed it",
        )
    return key.strip()
