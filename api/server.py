"""Runs the application under uvicorn."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from jobs.errors import ConfigError

_HEADERS = 64 * 1024
"""Bytes of a request's line and headers, at most."""

_BACKLOG = 4_096


class Server(uvicorn.Server):
    """A server that returns when a signal has stopped it, and says what is a request.

    uvicorn would let the signal through at its end, before anything else is closed.
    """

    def __init__(self, app: FastAPI, grace: float) -> None:
        """Serve `app`; a stop gives running requests `grace` seconds."""
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                h11_max_incomplete_event_size=_HEADERS,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=max(1, round(grace)),
                backlog=_BACKLOG,
            )
        )
        app.state.is_closing = lambda: self.should_exit

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM; at once when they come again."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread hears signals
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
    """Return a socket that listens. Raises `ConfigError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"can't listen on {host}, port {port}: {error}",
            hint="choose another with `batchchat serve --port 8001`",
        ) from None


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _Protocol(H11Protocol):
    """Says in OpenAI's shape, too, that what came in is no HTTP request."""

    def send_400_response(self, msg: str) -> None:
        message = f"{msg} A request's line and headers have up to {_HEADERS:,} bytes."
        error = {
            "message": message,
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_http",
        }
        body = json.dumps({"error": error}).encode()
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        self.transport.write(head + body)
        self.transport.close()
