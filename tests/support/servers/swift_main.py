"""OpenStack Swift with its S3 face: prints its port, ends when its input does.

Account, container, object and proxy server are a process each, as in a real one;
there is one device, a folder, and one replica. Its conditional puts look first and
write then, so two racing ones may both succeed.
"""

import multiprocessing
import os
import socket
import sys
import time
from pathlib import Path

from swift.common import wsgi
from swift.common.ring import RingBuilder

SERVERS = ["account", "container", "object"]

SWIFT = "[swift-hash]\nswift_hash_path_suffix = test\n"

SERVER = """\
[DEFAULT]
swift_dir = {folder}
devices = {folder}
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
fallocate_reserve = 0
[pipeline:main]
pipeline = {pipeline}
[app:{name}-server]
use = egg:swift#{name}
"""

PROXY = """\
account_autocreate = true
[filter:s3api]
use = egg:swift#s3api
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:catch_errors]
use = egg:swift#catch_errors
"""


def free_ports(count: int) -> list[int]:
    """Return ports on which no server listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def write_ring(folder: Path, name: str, port: int) -> None:
    """Say where the one device is: on the server at `port`."""
    ring = RingBuilder(part_power=1, replicas=1, min_part_hours=0)
    device = {"id": 0, "region": 1, "zone": 1, "weight": 1, "device": "device"}
    ring.add_dev({**device, "ip": "127.0.0.1", "port": port})
    ring.rebalance()
    ring.get_ring().save(str(folder / f"{name}.ring.gz"))


def write_settings(folder: Path, ports: list[int]) -> None:
    """Write what the four servers read."""
    (folder / "device").mkdir(parents=True)
    (folder / "swift.conf").write_text(SWIFT)
    for name, port in zip([*SERVERS, "proxy"], ports, strict=True):
        pipeline = f"{name}-server"
        if name == "proxy":
            pipeline = f"catch_errors s3api tempauth bulk slo {pipeline}"
        else:
            write_ring(folder, name, port)
        text = SERVER.format(folder=folder, port=port, name=name, pipeline=pipeline)
        (folder / f"{name}.conf").write_text(text + PROXY * (name == "proxy"))


def await_port(port: int) -> None:
    """Wait until a server listens on the port."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return


def main(folder: Path) -> None:
    """Serve from `folder`."""
    wsgi.drop_privileges = lambda _user: None  # run as the current user
    ports = free_ports(4)
    write_settings(folder, ports)
    os.setxattr(folder, "user.swift.test", b"")  # objects' headers are kept so
    fork = multiprocessing.get_context("fork")
    for name in [*SERVERS, "proxy"]:
        arguments = (str(folder / f"{name}.conf"), f"{name}-server")
        fork.Process(target=wsgi.run_wsgi, args=arguments, daemon=True).start()
    for port in ports:
        await_port(port)
    print(ports[-1], flush=True)  # noqa: T201 - the answer
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
