"""A proxy that cuts connections and answers errors, as it is told to."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

ANSWER = "HTTP/1.1 {} Trouble\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CONTINUE = b"HTTP/1.1 100"
PIECE = 64 * 1024


class CuttingProxy:
    """Hands bytes both ways; each list is used up by connections as they come."""

    def __init__(self, target: int) -> None:
        """Listen, but not yet accept."""
        self.cuts: list[int] = []
        """After so many bytes of answers a connection is cut."""
        self.upward_cuts: list[int] = []
        """After so many bytes of requests a connection is cut."""
        self.unanswered: list[bytes] = []
        """What requests begin with that the server gets and whose answer is lost."""
        self.statuses: list[int] = []
        """What connections are answered instead of by the server."""
        self.lost = 0
        """So many answers get lost once the server has given them."""
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
            if self.statuses:
                client.recv(PIECE)
                client.sendall(ANSWER.format(self.statuses.pop(0)).encode())
                return
            left = self.cuts.pop(0) if self.cuts else None
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                up = Thread(target=self._upward, args=(client, server), daemon=True)
                up.start()
                self._downward(server, client, left)
                client.shutdown(socket.SHUT_RDWR)
                server.shutdown(socket.SHUT_RDWR)
                up.join()

    def _upward(self, client: socket.socket, server: socket.socket) -> None:
        left = self.upward_cuts.pop(0) if self.upward_cuts else None
        with suppress(OSError):
            while data := client.recv(PIECE):
                if any(map(data.startswith, self.unanswered)):
                    self.unanswered.clear()
                    self.lost += 1
                server.sendall(data[:left])
                left = None if left is None else left - len(data)
                if left is not None and left <= 0:
                    break
            else:
                server.shutdown(socket.SHUT_WR)
                return
            for end in (server, client):
                end.shutdown(socket.SHUT_RDWR)

    def _downward(
        self, server: socket.socket, client: socket.socket, left: int | None
    ) -> None:
        """Hand answers down until they end, or `left` bytes of them went."""
        with suppress(OSError):
            while data := server.recv(PIECE):
                if self.lost and not data.startswith(CONTINUE):
                    self.lost -= 1
                    return
                client.sendall(data[:left])
                left = None if left is None else left - len(data)
                if left is not None and left <= 0:
                    return


@contextmanager
def cutting_proxy(target: int) -> Iterator[CuttingProxy]:
    """Run one before the server at the port `target`."""
    proxy = CuttingProxy(target)
    thread = Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
