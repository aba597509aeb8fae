"""Authentication: an API key identifies the project of a request.

A server that only its own machine can reach needs no key as long as none exists;
`local_requests.py` decides which requests come from its own machine.
"""

import time
from hashlib import sha256
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from batchchat.api.context import AppContext
from batchchat.api.http.errors import ApiError
from batchchat.api.http.failed_keys import FailedKeys
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.lru_cache import LruCache

_KEY_CACHE_SECONDS = 5.0
"""How long lookups are cached, so how long a revoked key may still work."""

_MAX_CACHED_KEYS = 10_000
_MAX_KEY_LENGTH = 256


class Authenticator:
    """Finds the project of a request; caches lookups for a few seconds."""

    def __init__(self, context: AppContext) -> None:
        """Look keys up in the key store of `context`."""
        self._context = context
        self._projects: LruCache[str, tuple[float, str | None]] = LruCache(
            _MAX_CACHED_KEYS
        )
        self._failed_keys = FailedKeys()
        self._keyless: tuple[float, bool] = (0.0, True)

    async def authenticate(self, request: Request) -> str:
        """Return the project of a request. Raises `ApiError` (401 or 403)."""
        header = request.headers.get("authorization", "")
        if await self.is_keyless():
            return self._context.settings.project
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise _unauthorized(
                "Missing API key. Send it in the header `Authorization: Bearer KEY`."
            )
        address = request.client.host if request.client else ""
        project = await self._find_project(text.strip(), address)
        if project is None:
            raise _unauthorized(
                "Incorrect API key provided, or it has expired or was revoked."
            )
        return project

    async def is_keyless(self) -> bool:
        """Return whether requests need no key: loopback only, and no key ever existed.

        Raises `BatchchatError` if the storage fails.
        """
        if not self._context.loopback_only:
            return False
        until, is_keyless = self._keyless
        if is_keyless and time.monotonic() >= until:
            is_keyless = not await to_thread.run_sync(self._context.keys.exist)
            self._keyless = (time.monotonic() + _KEY_CACHE_SECONDS, is_keyless)
        return is_keyless

    async def _find_project(self, text: str, address: str) -> str | None:
        digest = sha256(text.encode()).hexdigest()
        until, project = self._projects.get(digest) or (0.0, None)
        if project is None:  # a key that was valid is looked up in any case
            self._failed_keys.check(address)
        if time.monotonic() >= until:
            key = None
            if len(text) <= _MAX_KEY_LENGTH:
                key = await to_thread.run_sync(self._context.keys.find, text)
            project = key.project if key else None
            self._projects.put(digest, (time.monotonic() + _KEY_CACHE_SECONDS, project))
        if project is None:
            self._failed_keys.count(address)
        return project


def _unauthorized(message: str) -> ApiError:
    headers = {"www-authenticate": "Bearer"}
    return ApiError(401, message, code="invalid_api_key", headers=headers)


_bearer = HTTPBearer(
    auto_error=False, description="An API key created with `batchchat keys create`."
)


async def _ledger(
    request: Request,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Ledger:
    state = request.app.state
    project = await state.authenticator.authenticate(request)
    request.state.rate_limit = state.rate_limiter.count(project)
    request.state.project = project
    context: AppContext = state.context
    return context.ledger(project)


def _context(request: Request) -> AppContext:
    context: AppContext = request.app.state.context
    return context


ProjectLedger = Annotated[Ledger, Depends(_ledger)]
"""The ledger of the project whose key authenticates the request."""

Context = Annotated[AppContext, Depends(_context)]
"""The server's dependencies."""
