"""A proxy before a Redis that replies to commands in its place."""

import re
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from typing_extensions import override

from tests.support.servers.tcp_proxy import TcpProxy, running

_COMMAND = re.compile(rb"(?:^|(?<=\r\n))\*\d+\r\n\$\d+\r\n(\w+)")
_CHUNK = 64 * 1024
WRITES = ("BRPOP", "LPUSH", "LMOVE", "SET", "HSET", "DEL", "EXPIRE", "EVALSHA")
"""The commands that a replica refuses, among those that batchchat sends."""


class RedisProxy(TcpProxy):
    """Forwards commands, or replies to some of them with `reply`."""

    def __init__(self, target: int) -> None:
        """Listen before the Redis at the port `target`."""
        super().__init__(target)
        self.reply = b""
        """The reply to each refused command; empty to forward all commands."""
        self.refused: Collection[str] = ()
        """The commands to refuse; empty for all commands."""
        self.replies = 0
        """How many commands were refused."""

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @override
    def _send_up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(_CHUNK):
                names = [name.decode().upper() for name in _COMMAND.findall(data)]
                if self.reply and (not self.refused or {*names} & {*self.refused}):
                    client.sendall(self.reply * max(1, len(names)))
                    self.replies += 1
                else:
                    server.sendall(data)
            server.shutdown(socket.SHUT_WR)


@contextmanager
def redis_proxy(target: int) -> Iterator[RedisProxy]:
    """Run a proxy before the Redis at the port `target`."""
    with running(RedisProxy(target)) as proxy:
        yield proxy
