"""Work is interrupted when it has used its CPU time, and never later."""

import sys
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from threading import Thread

import pytest

from batchchat.jobs.prompts import time_limit
from batchchat.jobs.prompts.time_limit import TimeLimitError, limit_cpu_time

# An interruption in `__del__` is ignored, and repeated later.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


def loop_forever():
    while True:
        pass


def count(number):
    for _ in range(number):
        pass


def test_work_in_time_gives_its_result_or_its_error():
    assert limit_cpu_time(9, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        limit_cpu_time(9, lambda: 1 // 0)


def test_a_loop_without_end_is_interrupted():
    with pytest.raises(TimeLimitError):
        limit_cpu_time(0.01, loop_forever)


def test_work_that_catches_errors_is_interrupted():
    def catch():
        while True:
            with suppress(Exception):
                loop_forever()

    with pytest.raises(TimeLimitError):
        limit_cpu_time(0.01, catch)


def test_an_interruption_that_is_ignored_is_repeated(monkeypatch):
    monkeypatch.setattr(time_limit, "_REPEAT_CPU_SECONDS", 0.01)

    def ignore():
        for _ in range(3):
            with suppress(BaseException):  # as in `__del__`
                loop_forever()
        loop_forever()

    with pytest.raises(TimeLimitError):
        limit_cpu_time(0.01, ignore)


def test_a_thread_that_sleeps_uses_no_time():
    limit_cpu_time(0.05, lambda: time.sleep(0.5))


def test_other_threads_are_not_interrupted():
    finished = []

    def work():
        limit_cpu_time(9, lambda: sum(range(3_000_000)))
        finished.append(True)

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    with pytest.raises(TimeLimitError):
        limit_cpu_time(0.01, loop_forever)
    for thread in threads:
        thread.join()
    assert len(finished) == 2


@pytest.fixture
def short_slices():
    """Python switches between threads often."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("short_slices")
def test_no_interruption_arrives_after_the_work(monkeypatch):
    monkeypatch.setattr(time_limit, "_POLL_SECONDS", 0.0005)
    outcomes: Counter[bool] = Counter()
    while min(outcomes[True], outcomes[False]) < 20:
        steps = 1_000 * (outcomes.total() % 300)
        try:
            limit_cpu_time(0.001, partial(count, steps))
        except TimeLimitError:
            outcomes[True] += 1
        else:
            outcomes[False] += 1
        count(1_000)
