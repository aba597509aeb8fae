"""Requests with exact bytes, which an HTTP client would correct."""

import socket
from contextlib import suppress
from typing import NamedTuple


class RawResponse(NamedTuple):
    """A response as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes


def exchange(port: int, request: bytes) -> RawResponse:
    """Send `request` to a local server, and return the whole response."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
        received = b""
        with suppress(ConnectionError):  # it may close before it has read all
            stream.sendall(request)
        with suppress(ConnectionError):
            while some := stream.recv(65_536):
                received += some
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return RawResponse(int(first.split(" ")[1]), headers, body)


def request_bytes(
    target: str,
    *headers: str,
    method: str = "GET",
    version: str = "1.1",
    body: bytes = b"",
) -> bytes:
    """Return a request with exactly these headers, and those that frame its body."""
    head = [f"{method} {target} HTTP/{version}", *headers, "connection: close"]
    if body:
        head.append(f"content-length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body
