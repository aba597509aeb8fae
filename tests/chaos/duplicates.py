"""Delivers every message of a cluster twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import redis

from tests.support.servers.redis_server import RedisServer

_QUEUES = ("batchchat:model.", "batchchat:control")


class Duplicates:
    """Watches the commands to Redis, and repeats each one that sends a message."""

    def __init__(self, server: RedisServer) -> None:
        """Repeat the messages that go through `server`."""
        self.messages = 0
        self._client: Any = server.client
        self._listener: Any = server.client
        self._copies: set[str] = set()

    def listen(self) -> None:
        """Repeat messages until the connection is closed."""
        try:
            with self._listener.monitor() as monitor:
                for heard in monitor.listen():
                    self._repeat(heard["command"])
        except (redis.ConnectionError, ValueError, AttributeError, OSError):
            return

    def close(self) -> None:
        """Stop listening."""
        for client in self._client.client_list():
            if client["cmd"] == "monitor":
                self._client.client_kill_filter(_id=client["id"])

    def _repeat(self, command: str) -> None:
        if not command.startswith("LPUSH "):
            return
        _, queue, message = command.split(" ", 2)
        if not queue.startswith(_QUEUES):
            return
        if message in self._copies:
            self._copies.remove(message)
            return
        self._copies.add(message)
        self.messages += 1
        self._client.lpush(queue, message)


@contextmanager
def duplicating(server: RedisServer) -> Iterator[Duplicates]:
    """Deliver each message twice within the block."""
    one = Duplicates(server)
    thread = Thread(target=one.listen, daemon=True)
    thread.start()
    try:
        yield one
    finally:
        one.close()
        thread.join(5)
