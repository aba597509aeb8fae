"""A server stays responsive whatever number of connections a client opens."""

import resource
import socket
from contextlib import ExitStack

import httpx
import pytest

from batchchat.api.server.descriptors import raise_limit
from tests.acceptance.serving import Serving

MANY = 700
FEW_FILES = ("sh", "-c", 'ulimit -Sn 128 && ulimit -Hn 512 && exec "$@"', "sh")


@pytest.fixture
def many_files():
    """Let this process open that many connections."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_limit()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_files")
def test_a_flood_of_idle_connections_leaves_the_server_responsive(place):
    server = Serving(place)
    running = server.start(through=FEW_FILES)
    assert resource.prlimit(running.pid, resource.RLIMIT_NOFILE) == (512, 512)
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        running.until(lambda: _is_answered(server.port))
    running.until(lambda: httpx.get(_url(server.port)).status_code == 200)
    assert "Too many open files" not in running.err.read_text()


def _is_answered(port):
    """Return whether a new connection gets a response or is cut, but does not hang."""
    try:
        return httpx.get(_url(port)).status_code == 503
    except (httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError):
        return True


def _url(port):
    return f"http://127.0.0.1:{port}/healthz"
