"""The speed of a run over the last seconds."""

import pytest

from batchchat.jobs.execution.throughput import Throughput
from tests.support.clock import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throughput(clock):
    return Throughput(clock)


def observe(throughput, clock, seconds, rates, begin=(0, 0)):
    """Take four samples a second of a steady run; return its last totals."""
    (tokens, requests), (token_rate, request_rate) = begin, rates
    for _ in range(seconds * 4):
        clock.now += 0.25
        tokens, requests = tokens + token_rate / 4, requests + request_rate / 4
        throughput.observe(tokens, requests)
    return tokens, requests


def test_the_speed_is_that_of_the_last_ten_seconds(throughput, clock):
    end = observe(throughput, clock, 30, (100, 1))
    observe(throughput, clock, 10, (500, 1), end)
    assert throughput.tokens_per_second() == pytest.approx(500, rel=0.05)


def test_a_wait_before_the_first_token_does_not_count(throughput, clock):
    for _ in range(100):
        clock.now += 0.25
        throughput.observe(0, 0)
    observe(throughput, clock, 2, (100, 1))
    assert throughput.tokens_per_second() == pytest.approx(100, rel=0.15)


def test_there_is_no_rate_while_the_speed_still_changes(throughput, clock):
    end = observe(throughput, clock, 4, (10, 1))
    assert throughput.requests_per_second() is None
    end = observe(throughput, clock, 4, (10, 4), end)
    assert throughput.requests_per_second() is None
    observe(throughput, clock, 12, (10, 4), end)
    assert throughput.requests_per_second() == pytest.approx(3.4, rel=0.1)


def test_another_engine_starts_the_measurement_again(throughput, clock):
    observe(throughput, clock, 20, (100, 10))
    observe(throughput, clock, 2, (10, 1))
    assert throughput.tokens_per_second() == pytest.approx(10, rel=0.15)
