"""Recurring failures are logged once, then once a minute."""

from threading import Thread

import pytest

from batchchat.workers.broker.throttled_log import ThrottledLog


class Listener:
    """A throttled log, its clock and its lines."""

    def __init__(self, caplog):
        self.now = 0.0
        self.throttled_log = ThrottledLog("storage", lambda: self.now)
        self._caplog = caplog

    def at(self, now, problem):
        self.now = now
        self.throttled_log.report(problem)

    @property
    def said(self):
        return [record.message for record in self._caplog.records]


@pytest.fixture
def listener(caplog):
    return Listener(caplog)


def test_a_failure_is_logged_once_and_then_each_minute(listener):
    for second in range(125):
        listener.at(second, f"no answer {second}")
    assert listener.said == [f"storage: no answer {second}" for second in (0, 60, 120)]


def test_recovery_is_logged_after_a_while_without_failures(listener):
    listener.at(0, "no answer")
    listener.at(1, None)
    listener.at(11, None)
    listener.at(12, None)
    assert listener.said == ["storage: no answer", "storage: available again"]


def test_a_failing_thread_prevents_recovery(listener):
    other = Thread(target=listener.at, args=(0, "no answer"))
    other.start()
    other.join()
    listener.at(100, None)
    assert listener.said == ["storage: no answer"]


def test_success_is_not_logged(listener):
    listener.at(0, None)
    assert listener.said == []
