"""An engine that hangs is told from a process that slept."""

import pytest

from batchchat.workers.engine.hang_detector import HangDetector

STALL = 20.0


class Engine:
    """Stands still since some moment, or has nothing to do."""

    def __init__(self) -> None:
        self.stepped: float | None = 0.0
        self.now = 0.0

    def seconds_since_last_step(self):
        return None if self.stepped is None else self.now - self.stepped


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def watch(engine):
    return HangDetector(engine, STALL, lambda: engine.now)


def looks(engine, watch, seconds):
    for _ in range(seconds):
        engine.now += 1
        if watch.is_hung():
            return True
    return False


def test_one_that_stands_still_for_long_hangs(engine, watch):
    assert not looks(engine, watch, int(STALL))
    assert looks(engine, watch, 2)


def test_one_that_steps_does_not(engine, watch):
    for _ in range(5):
        assert not looks(engine, watch, int(STALL))
        engine.stepped = engine.now


def test_one_that_has_nothing_to_do_does_not(engine, watch):
    engine.stepped = None
    assert not looks(engine, watch, 10 * int(STALL))


def test_a_process_that_slept_finds_none_that_hangs(engine, watch):
    looks(engine, watch, 5)
    engine.now += 3600
    assert not watch.is_hung()
    engine.stepped = engine.now
    assert not looks(engine, watch, int(STALL))


def test_one_that_hung_before_the_sleep_is_found_after_it(engine, watch):
    looks(engine, watch, 5)
    engine.now += 3600
    assert looks(engine, watch, int(STALL))
