"""Runs the application under uvicorn."""

import asyncio
import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import cast

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from batchchat.api.http.errors import ApiError, error_response
from batchchat.api.http.security_headers import SECURITY_HEADERS, SecurityHeaders
from batchchat.api.server.descriptors import max_connections
from batchchat.jobs.errors import ConfigError

_MAX_HEADER_BYTES = 64 * 1024
"""Maximum size of the request line and headers."""

_HEADER_TIMEOUT_SECONDS = 30.0
"""How long a client may take to send the request line and headers."""

_MAX_CONNECTIONS = 4_096
"""Connections served at the same time, if the limit of open files allows; requests on
further ones get a 503."""

_MAX_EXCESS_CONNECTIONS = 128
"""Further connections that get a response; beyond them, connections are cut."""

_BACKLOG = 4_096


class Server(uvicorn.Server):
    """A uvicorn server that returns after a signal instead of raising it again.

    uvicorn's own re-raises the signal at its end, which would end the process before
    the background work is closed.
    """

    def __init__(self, app: FastAPI, grace: float) -> None:
        """Serve `app`; on shutdown, running requests have `grace` seconds to finish."""
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=max(1, round(grace)),
                backlog=_BACKLOG,
            )
        )
        app.state.is_shutting_down = lambda: self.should_exit

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Shut down on SIGINT or SIGTERM; a second signal skips the grace period."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread receives signals
            return
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `ConfigError`."""
    if not (host.isascii() and host.isprintable()):
        raise ConfigError(
            f"cannot listen on `{host}`: not the name or address of a machine",
            hint="use an address of this machine, such as 127.0.0.1",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {error}",
            hint="choose another port with `batchchat serve --port 8001`",
        ) from None


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _Protocol(H11Protocol):
    """HTTP/1.1 hardened against slow and malformed clients.

    A connection is closed unless a complete request head arrives in time. Malformed
    requests and excess connections get an error in OpenAI's format.
    """

    _header_timer: asyncio.TimerHandle | None = None
    """Closes the connection when no complete request head arrives in time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        excess = len(self.connections) - max_connections(_MAX_CONNECTIONS)
        if excess > 0:
            self.app = _too_many_connections
        if excess > _MAX_EXCESS_CONNECTIONS:
            self.transport.abort()
            return
        self._update_header_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._update_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel_header_timer()

    def _update_header_timer(self) -> None:
        """Run the timer while a request head is awaited or incomplete."""
        if self.conn.their_state is not h11.IDLE:
            self._cancel_header_timer()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(
                _HEADER_TIMEOUT_SECONDS, self.transport.close
            )

    def _cancel_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def send_400_response(self, msg: str) -> None:
        limit = (
            f"The request line and headers may have up to {_MAX_HEADER_BYTES:,} bytes."
        )
        message = f"{msg} {limit}"
        error = {
            "message": message,
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_http",
        }
        body = json.dumps({"error": error}).encode()
        headers = {
            "content-type": "application/json",
            "connection": "close",
            "content-length": f"{len(body)}",
            **SECURITY_HEADERS,
        }
        lines = (f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 400 Bad Request\r\n{''.join(lines)}\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()


_too_many_connections = SecurityHeaders(
    error_response(
        ApiError(
            503,
            "The server has too many connections. Try again in a few seconds.",
            code="too_many_connections",
            headers={"retry-after": "2", "connection": "close"},
        )
    )
)
