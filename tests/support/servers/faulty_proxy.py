"""A proxy before an S3 server: storms, a full disk, requests that never arrive."""

import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from tests.support.servers.cutting_proxy import ANSWER, PIECE, CuttingProxy

STORM = {"500": 2, "503": 3, "cut": 2, "late": 2, "torn": 2, "well": 2}
"""What becomes of requests in a storm, by weight."""

_LATE = 3.0
_METHODS = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ")


class FaultyProxy(CuttingProxy):
    """Hands everything on, until it is told to do harm."""

    def __init__(self, target: int) -> None:
        """Stand before the server at the port `target`."""
        super().__init__(target)
        self.storms = False
        """Requests are refused, cut, answered late or only half."""
        self.full: str | None = None
        """The server has no room for keys with this in them: answered with 507."""
        self.held = Event()
        """Set when the request has come that `hold` waits for."""
        self.suffered: Counter[str] = Counter()
        self._hold: bytes | None = None
        self._source = random.Random(1)

    @contextmanager
    def refusing(self, keys: str) -> Iterator[None]:
        """Have no room for keys with this in them, for the length of the block."""
        before, self.full = self.full, keys
        try:
            yield
        finally:
            self.full = before

    def hold(self, name: str) -> None:
        """Swallow requests that write an object whose key ends so."""
        self.held.clear()
        self._hold = name.encode()

    def let_go(self) -> None:
        """Swallow nothing more."""
        self._hold = None

    def _upward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(PIECE):
                if data.startswith(_METHODS) and not self._passes(data, client):
                    break
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _downward(
        self, server: socket.socket, client: socket.socket, left: int | None
    ) -> None:
        if self.storms and left is None and self._chance() == "torn":
            left = self._source.randrange(1, 2_000)
        super()._downward(server, client, left)

    def _passes(self, request: bytes, client: socket.socket) -> bool:
        """Say whether the request may go on; if not, the connection ends."""
        line = request.split(b"\r\n", 1)[0]
        writes = line.startswith((b"PUT ", b"POST "))
        path = line.split(b" ")[1].split(b"?")[0]
        if self._hold and writes and path.endswith(self._hold):
            self.held.set()
            return False
        if self.full is not None and writes and self.full in path.decode():
            return self._refuse(client, "507")
        return self._weathers(client) if self.storms else True

    def _weathers(self, client: socket.socket) -> bool:
        fate = self._chance()
        self.suffered[fate] += 1
        if fate.isdigit():
            return self._refuse(client, fate)
        if fate == "late":
            time.sleep(self._source.uniform(0.2, _LATE))
        return fate != "cut"

    def _refuse(self, client: socket.socket, status: str) -> bool:
        client.sendall(ANSWER.format(status).encode())
        return False

    def _chance(self) -> str:
        return self._source.choices([*STORM], [*STORM.values()])[0]


@contextmanager
def faulty_proxy(target: int) -> Iterator[FaultyProxy]:
    """Run one before the server at the port `target`."""
    proxy = FaultyProxy(target)
    thread = Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
