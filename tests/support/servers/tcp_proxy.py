"""Proxies before a server that break connections, as tests ask them to."""

import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TypeVar

FAULT_WEIGHTS = {"500": 2, "503": 3, "cut": 2, "late": 2, "truncated": 2, "none": 2}
"""What happens to requests while faults are injected, by weight."""

_RESPONSE = "HTTP/1.1 {} Trouble\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100"
_METHODS = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ")
_CHUNK = 64 * 1024
_MAX_DELAY_SECONDS = 3.0


class TcpProxy:
    """Forwards bytes; connections use up the entries of its lists as they come."""

    def __init__(self, target: int) -> None:
        """Listen before the server at the port `target`, but do not accept yet."""
        self.response_cuts: list[int] = []
        """Bytes of responses after which a connection is cut."""
        self.request_cuts: list[int] = []
        """Bytes of requests after which a connection is cut."""
        self.drop_responses_to: list[bytes] = []
        """Starts of requests that the server gets and whose response is dropped."""
        self.forced_statuses: list[int] = []
        """Statuses to respond with in place of the server."""
        self.responses_to_drop = 0
        """How many of the next responses are dropped."""
        self.connections = 0
        self._target = target
        self._clients: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Accept until closed."""
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self.connections += 1
                self._clients.append(client)
                Thread(target=self._connect, args=(client,), daemon=True).start()

    def close_idle(self) -> None:
        """End all connections, so that the next request needs a new one."""
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._clients.clear()

    def close(self) -> None:
        """Accept no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _connect(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self.forced_statuses:
                client.recv(_CHUNK)
                _respond(client, str(self.forced_statuses.pop(0)))
                return
            limit = self.response_cuts.pop(0) if self.response_cuts else None
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                up = Thread(target=self._send_up, args=(client, server), daemon=True)
                up.start()
                self._send_down(server, client, limit)
                client.shutdown(socket.SHUT_RDWR)
                server.shutdown(socket.SHUT_RDWR)
                up.join()

    def _send_up(self, client: socket.socket, server: socket.socket) -> None:
        limit = self.request_cuts.pop(0) if self.request_cuts else None
        with suppress(OSError):
            while data := client.recv(_CHUNK):
                if any(map(data.startswith, self.drop_responses_to)):
                    self.drop_responses_to.clear()
                    self.responses_to_drop += 1
                server.sendall(data[:limit])
                limit = None if limit is None else limit - len(data)
                if limit is not None and limit <= 0:
                    break
            else:
                server.shutdown(socket.SHUT_WR)
                return
            for end in (server, client):
                end.shutdown(socket.SHUT_RDWR)

    def _send_down(
        self, server: socket.socket, client: socket.socket, limit: int | None
    ) -> None:
        """Forward responses until they end, or `limit` bytes of them are sent."""
        with suppress(OSError):
            while data := server.recv(_CHUNK):
                if self.responses_to_drop and not data.startswith(_CONTINUE):
                    self.responses_to_drop -= 1
                    return
                client.sendall(data[:limit])
                limit = None if limit is None else limit - len(data)
                if limit is not None and limit <= 0:
                    return


class FaultyS3Proxy(TcpProxy):
    """Stands before an S3 server: random faults, a full disk, lost writes."""

    def __init__(self, target: int) -> None:
        """Listen before the server at the port `target`."""
        super().__init__(target)
        self.injects_faults = False
        """Whether requests are refused, cut, delayed or truncated at random."""
        self.blocked = Event()
        """Set when the request has come that `block` waits for."""
        self.injected: Counter[str] = Counter()
        """How many requests met each fault."""
        self._full: str | None = None
        self._blocks: bytes | None = None
        self._rng = random.Random(1)

    @contextmanager
    def full_for(self, keys: str) -> Iterator[None]:
        """Respond 507 to writes of keys that contain `keys`, within the block."""
        before, self._full = self._full, keys
        try:
            yield
        finally:
            self._full = before

    def block(self, suffix: str) -> None:
        """Drop requests that write an object whose key ends with `suffix`."""
        self.blocked.clear()
        self._blocks = suffix.encode()

    def unblock(self) -> None:
        """Drop requests no more."""
        self._blocks = None

    def _send_up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(_CHUNK):
                if data.startswith(_METHODS) and not self._passes(data, client):
                    break
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _send_down(
        self, server: socket.socket, client: socket.socket, limit: int | None
    ) -> None:
        if self.injects_faults and limit is None and self._fault() == "truncated":
            limit = self._rng.randrange(1, 2_000)
        super()._send_down(server, client, limit)

    def _passes(self, request: bytes, client: socket.socket) -> bool:
        """Return whether the request is forwarded; if not, the connection ends."""
        line = request.split(b"\r\n", 1)[0]
        writes = line.startswith((b"PUT ", b"POST "))
        path = line.split(b" ")[1].split(b"?")[0]
        if self._blocks and writes and path.endswith(self._blocks):
            self.blocked.set()
            return False
        if self._full is not None and writes and self._full in path.decode():
            return _respond(client, "507")
        return self._survives(client) if self.injects_faults else True

    def _survives(self, client: socket.socket) -> bool:
        fault = self._fault()
        self.injected[fault] += 1
        if fault.isdigit():
            return _respond(client, fault)
        if fault == "late":
            time.sleep(self._rng.uniform(0.2, _MAX_DELAY_SECONDS))
        return fault != "cut"

    def _fault(self) -> str:
        return self._rng.choices([*FAULT_WEIGHTS], [*FAULT_WEIGHTS.values()])[0]


AnyProxy = TypeVar("AnyProxy", bound=TcpProxy)


@contextmanager
def running(proxy: AnyProxy) -> Iterator[AnyProxy]:
    """Serve with `proxy` within the block."""
    thread = Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()


@contextmanager
def tcp_proxy(target: int) -> Iterator[TcpProxy]:
    """Run a proxy before the server at the port `target`."""
    with running(TcpProxy(target)) as proxy:
        yield proxy


def _respond(client: socket.socket, status: str) -> bool:
    """Send an empty response; return False: the server sees nothing of the request."""
    client.sendall(_RESPONSE.format(status).encode())
    return False
