"""A process that dies is restarted; one that never could run is not."""

import signal
import sys
import threading
from typing import Any

import pytest

from batchchat.jobs.backoff import Backoff
from batchchat.workers import supervisor
from batchchat.workers.exit_codes import CANNOT_RUN
from batchchat.workers.supervisor import Supervisor
from tests.support.wait import wait_until

# Exits with the next status of the file that it is given.
CHILD = """
import pathlib, sys
path = pathlib.Path(sys.argv[1])
first, *rest = path.read_text().split()
path.write_text(" ".join(rest))
sys.exit(int(first))
"""


@pytest.fixture(autouse=True)
def handlers(monkeypatch):
    """The handlers of signals, which this process does not install."""
    found: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", found.__setitem__)
    return found


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a supervisor whose child exits with each status in turn."""
    monkeypatch.setattr(supervisor, "_BACKOFF", Backoff(0.01, 0.01))
    statuses = tmp_path / "statuses"

    def run_with(*each: int) -> tuple[int, str]:
        statuses.write_text(" ".join(map(str, each)))
        command = [sys.executable, "-c", CHILD, str(statuses)]
        return Supervisor("controller", command).run(), statuses.read_text()

    return run_with


def test_a_process_that_dies_is_restarted(run, caplog):
    assert run(70, 1, 75, 0, 9) == (0, "9")
    assert [record.args[:2] for record in caplog.records] == [
        ("controller", 70),
        ("controller", 1),
        ("controller", 75),
    ]


def test_a_process_that_cannot_run_is_not_restarted(run):
    assert run(CANNOT_RUN, 9) == (CANNOT_RUN, "9")


def test_a_process_that_could_run_before_is_restarted(run):
    assert run(70, CANNOT_RUN, CANNOT_RUN, 0) == (0, "")


def test_a_signal_ends_the_process_and_the_supervision(handlers):
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    one = Supervisor("worker", command)

    def stop() -> None:
        wait_until(lambda: one._child)
        handlers[signal.SIGTERM](signal.SIGTERM, None)

    thread = threading.Thread(target=stop)
    thread.start()
    assert one.run() == 128 + signal.SIGTERM
    thread.join()
