"""S3 servers, started when a test first asks for one."""

import signal

import pytest

from tests.support.servers.s3_server import s3_server

# A run that was started in the background ignores SIGINT, and so would all that it
# starts: what is tried with a Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def moto():
    """Return a server whose conditional puts are atomic; it takes any credentials."""
    with s3_server("moto_main.py", key="any", secret="any") as server:
        yield server


@pytest.fixture(scope="session")
def swift(tmp_path_factory):
    """Return OpenStack Swift: its conditional puts aren't atomic."""
    folder = tmp_path_factory.mktemp("swift")
    key, secret = "test:tester", "testing"
    with s3_server("swift_main.py", folder, key=key, secret=secret) as server:
        yield server
