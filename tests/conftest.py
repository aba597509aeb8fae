"""What all tests share: signals, search settings, their order, and S3 servers."""

import os
import signal
from importlib.util import find_spec

import pytest
from hypothesis import settings

from tests.support import scheduling
from tests.support.servers.s3_server import s3_server

# A run that was started in the background ignores SIGINT, and so do the commands that
# it starts: a test that presses Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

if "PYTEST_XDIST_WORKER" in os.environ:
    # An engine's threads wait for each other actively. Where each test process has an
    # engine, they would take the cores that the other engine needs.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadlines, since machines differ.
settings.register_profile("batchchat", deadline=None, max_examples=60)
settings.register_profile("quick", deadline=None, max_examples=15)  # of `make unit`
settings.load_profile("batchchat")


def pytest_addoption(parser):
    parser.addoption(
        "--extended",
        action="store_true",
        help="run the tests marked `extended` too, and search longer in others",
    )


_NO_VLLM = pytest.mark.skipif(
    find_spec("vllm") is None, reason="needs vLLM: install batchchat[cpu]"
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("engine"):
            for mark in (_NO_VLLM, pytest.mark.slow, pytest.mark.timeout(900)):
                item.add_marker(mark)
    if not config.getoption("extended"):
        left_out = [item for item in items if item.get_closest_marker("extended")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("extended")]
    items.sort(key=lambda item: scheduling.position(item.nodeid))


def pytest_make_parametrize_id(val, argname):
    """Name bytes by their argument: all processes must give a test the same name."""
    return argname if isinstance(val, bytes) and not val.isascii() else None


def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False
    return scheduling.GroupScheduling(config, log)


def pytest_terminal_summary(terminalreporter):
    seconds = scheduling.seconds_by_tier(
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport)
    )
    if len(seconds) > 1:
        terminalreporter.section("seconds by tier")
        for tier, spent in seconds.most_common():
            terminalreporter.line(f"{spent:7.1f} {tier}")


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
