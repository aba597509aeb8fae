"""Runs the application under uvicorn."""

import json
import logging
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEADERS = 64 * 1024
"""Bytes of a request's line and headers, at most."""


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _Protocol(H11Protocol):
    """Says in OpenAI's shape, too, that what came in is no HTTP request."""

    def send_400_response(self, msg: str) -> None:
        body = json.dumps(
            {
                "error": {
                    "message": f"{msg} Its line and headers have up to"
                    f" {_HEADERS:,} bytes.",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": "invalid_http",
                }
            }
        ).encode()
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        self.transport.write(head + body)
        self.transport.close()


def make_server(app: FastAPI, host: str, port: int, grace: float) -> uvicorn.Server:
    """Return a server for `app`; a stop gives running requests `grace` seconds."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_Protocol,
        ws="none",
        loop="auto",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        h11_max_incomplete_event_size=_HEADERS,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(grace)),
        backlog=4096,
    )
    return uvicorn.Server(config)


class _Lines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def start_logging(*, as_json: bool) -> None:
    """Log to stderr: JSON for machines, plain lines for a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S")
    handler.setFormatter(_Lines() if as_json else plain)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    quiet: Sequence[str] = ("uvicorn.error", "httpx", "httpcore", "botocore", "boto3")
    for name in quiet:
        logging.getLogger(name).setLevel(logging.WARNING)
