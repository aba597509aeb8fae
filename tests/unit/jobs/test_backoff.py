import pytest

from batchchat.jobs.backoff import Backoff

BACKOFF = Backoff(first=2.0, longest=30.0)


@pytest.mark.usefixtures("no_jitter")
def test_waits_double_up_to_the_longest():
    waits = [BACKOFF.seconds(failures) for failures in range(1, 8)]
    assert waits == [2, 4, 8, 16, 30, 30, 30]


@pytest.mark.usefixtures("no_jitter")
def test_many_failures_do_not_overflow():
    assert BACKOFF.seconds(100_000) == 30


@pytest.mark.parametrize("failures", [1, 3, 50])
def test_at_least_half_of_a_wait_is_kept(failures):
    full = min(2.0 * 2 ** (failures - 1), 30.0)
    waits = {BACKOFF.seconds(failures) for _ in range(200)}
    assert all(full / 2 <= wait <= full for wait in waits)


def test_waits_differ_between_processes():
    assert len({BACKOFF.seconds(1) for _ in range(20)}) > 1
