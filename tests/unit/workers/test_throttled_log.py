"""What is said of something that fails again and again."""

from threading import Thread

import pytest

from batchchat.workers.broker.throttled_log import ThrottledLog


class Listener:
    """A trouble, its clock, and what it says."""

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


def test_it_is_said_once_and_again_each_minute(listener):
    for second in range(125):
        listener.at(second, f"no answer {second}")
    assert listener.said == [f"storage: no answer {second}" for second in (0, 60, 120)]


def test_it_is_over_when_nothing_failed_for_a_while(listener):
    listener.at(0, "no answer")
    listener.at(1, None)
    listener.at(11, None)
    listener.at(12, None)
    assert listener.said == ["storage: no answer", "storage: available again"]


def test_it_is_not_over_while_another_thread_waits(listener):
    other = Thread(target=listener.at, args=(0, "no answer"))
    other.start()
    other.join()
    listener.at(100, None)
    assert listener.said == ["storage: no answer"]


def test_what_goes_well_is_not_worth_a_word(listener):
    listener.at(0, None)
    assert listener.said == []
