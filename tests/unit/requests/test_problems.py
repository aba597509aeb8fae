"""Problems are kept in order, in memory or on disk."""

import pytest

from batchchat.jobs.requests.problems import Problem, ProblemLog


@pytest.fixture
def log():
    log = ProblemLog()
    yield log
    log.close()


def problems(count, code="c"):
    return [Problem(code, number, "wrong: é\n", "n") for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 30_000])
def test_a_problem_log_returns_what_was_added(log, count):
    log.add(problems(count))
    assert list(log) == list(log) == problems(count)


def test_a_problem_log_can_be_appended_to_after_a_partial_read(log):
    log.add(problems(100))
    assert next(iter(log)).line == 0
    log.add(problems(2, "later"))
    assert list(log) == problems(100) + problems(2, "later")
