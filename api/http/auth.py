"""Who asks: a bearer key names the project; on a private server nobody has to."""

import time
from collections import OrderedDict
from hashlib import sha256
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from batchchat.api.context import Service
from batchchat.api.http.errors import ApiError
from batchchat.jobs.ledger.ledger import Ledger

_REMEMBERED = 5.0
"""Seconds for which a revoked key may still work."""

_MOST = 10_000
_LONGEST = 256
_OWN_HOSTS = {"localhost", "127.0.0.1", "::1"}


class Door:
    """Finds the project of a request, asking the storage every few seconds."""

    def __init__(self, service: Service) -> None:
        """Let in whom `service` knows."""
        self._service = service
        self._known: OrderedDict[bytes, tuple[float, str | None]] = OrderedDict()
        self._open: tuple[float, bool] = (0.0, False)

    async def project(self, request: Request) -> str:
        """Return whose request it is. Raises `ApiError`."""
        header = request.headers.get("authorization", "")
        if await self._is_open():
            _refuse_strangers(request)
            return self._service.settings.project
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise _unauthorized(
                "You didn't provide an API key: send it as `Authorization: Bearer KEY`."
            )
        project = await self._find(text.strip())
        if project is None:
            raise _unauthorized("Incorrect API key provided.")
        return project

    async def _is_open(self) -> bool:
        """Say whether no key is needed: on a private server where there is none."""
        if not self._service.is_private:
            return False
        until, is_open = self._open
        if time.monotonic() >= until:
            is_open = not await to_thread.run_sync(self._service.keys.exist)
            self._open = (time.monotonic() + _REMEMBERED, is_open)
        return is_open

    async def _find(self, text: str) -> str | None:
        digest = sha256(text.encode()).digest()
        until, project = self._known.get(digest, (0.0, None))
        if time.monotonic() >= until:
            key = None
            if len(text) <= _LONGEST:
                key = await to_thread.run_sync(self._service.keys.find, text)
            project = key.project if key else None
            self._known[digest] = (time.monotonic() + _REMEMBERED, project)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return project


def _refuse_strangers(request: Request) -> None:
    """Keep out web pages that reach an open server through a user's own browser."""
    host = request.url.hostname or ""
    elsewhere = request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}
    if host not in _OWN_HOSTS or elsewhere:
        message = "Without keys this server answers its own machine only: "
        message += "make a key with `batchchat keys create`."
        raise ApiError(403, message, code="keys_needed")


def _unauthorized(message: str) -> ApiError:
    headers = {"www-authenticate": "Bearer"}
    return ApiError(401, message, code="invalid_api_key", headers=headers)


_bearer = HTTPBearer(auto_error=False, description="A key of `batchchat keys create`.")


async def _ledger(
    request: Request,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Ledger:
    state = request.app.state
    project = await state.door.project(request)
    state.limits.count(project)
    request.state.project = project
    service: Service = state.service
    return service.ledger(project)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Mine = Annotated[Ledger, Depends(_ledger)]
"""The ledger of the project that asks."""

Parts = Annotated[Service, Depends(_service)]
"""The parts of the server."""
