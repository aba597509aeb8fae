"""A hung engine is distinguished from a suspended process."""

import pytest

from batchchat.workers.engine.hang_detector import HangDetector

STALL_SECONDS = 20.0


class Engine:
    """An engine without a step since `last_step`; None while no request runs."""

    def __init__(self) -> None:
        self.last_step: float | None = 0.0
        self.now = 0.0

    def seconds_since_last_step(self):
        return None if self.last_step is None else self.now - self.last_step


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def detector(engine):
    return HangDetector(engine, STALL_SECONDS, lambda: engine.now)


def is_hung_within(engine, detector, seconds):
    for _ in range(seconds):
        engine.now += 1
        if detector.is_hung():
            return True
    return False


def test_engine_without_steps_is_hung(engine, detector):
    assert not is_hung_within(engine, detector, int(STALL_SECONDS))
    assert is_hung_within(engine, detector, 2)


def test_stepping_engine_is_not_hung(engine, detector):
    for _ in range(5):
        assert not is_hung_within(engine, detector, int(STALL_SECONDS))
        engine.last_step = engine.now


def test_idle_engine_is_not_hung(engine, detector):
    engine.last_step = None
    assert not is_hung_within(engine, detector, 10 * int(STALL_SECONDS))


def test_engine_is_not_hung_after_the_process_was_suspended(engine, detector):
    is_hung_within(engine, detector, 5)
    engine.now += 3600
    assert not detector.is_hung()
    engine.last_step = engine.now
    assert not is_hung_within(engine, detector, int(STALL_SECONDS))


def test_hang_from_before_a_suspension_is_detected_after_it(engine, detector):
    is_hung_within(engine, detector, 5)
    engine.now += 3600
    assert is_hung_within(engine, detector, int(STALL_SECONDS))
