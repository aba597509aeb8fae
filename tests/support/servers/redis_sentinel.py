"""A Redis master with a replica, and Sentinels that fail over between them."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.support.child import dies_with_tests
from tests.support.servers.redis_server import (
    RedisServer,
    free_port,
    redis_server,
    server_binary,
)
from tests.support.wait import wait_until

MASTER = "mymaster"
_CONFIG = """
port {port}
bind 127.0.0.1
sentinel monitor {master} 127.0.0.1 {target} 2
sentinel down-after-milliseconds {master} 500
sentinel failover-timeout {master} 3000
"""
_SENTINELS = 3


@dataclass
class Sentinels:
    """The servers, and the ports of the Sentinels."""

    servers: list[RedisServer]
    ports: list[int]

    @property
    def url(self) -> str:
        """Where clients find the master."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"sentinel://{hosts}/{MASTER}"

    @property
    def master(self) -> int:
        """The port of the master, according to the first Sentinel."""
        client: Any = redis.Redis(port=self.ports[0], decode_responses=True)
        with client:
            return int(client.sentinel_get_master_addr_by_name(MASTER)[1])


@contextmanager
def redis_sentinel(folder: Path) -> Iterator[Sentinels]:
    """Run two servers and three Sentinels."""
    with ExitStack() as stack:
        servers = [stack.enter_context(redis_server(folder)) for _ in range(2)]
        servers[1].client.replicaof("127.0.0.1", servers[0].port)
        ports = [_start(folder, servers[0].port, stack) for _ in range(_SENTINELS)]
        one = Sentinels(servers, ports)
        wait_until(lambda: all(_knows_all(port) for port in ports), seconds=60)
        yield one


def _start(folder: Path, target: int, stack: ExitStack) -> int:
    port = free_port()
    config = folder / f"sentinel-{port}.conf"
    config.write_text(_CONFIG.format(port=port, target=target, master=MASTER))
    process = subprocess.Popen(
        [server_binary(), config, "--sentinel"],
        stdout=subprocess.DEVNULL,
        preexec_fn=dies_with_tests(),  # noqa: PLW1509
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return port


def _knows_all(port: int) -> bool:
    """Return whether a Sentinel knows the replica and the other Sentinels."""
    client: Any = redis.Redis(port=port, decode_responses=True)
    with client:
        try:
            state = client.sentinel_master(MASTER)
        except redis.RedisError:
            return False
    known = state["num-slaves"], state["num-other-sentinels"]
    return bool(known == (1, _SENTINELS - 1))
