"""Other commands on the machine read how fast a run is."""

import os

import pytest

from batchchat.jobs.errors import NotFoundError
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.ids import new_batch_id
from batchchat.workers.local.live_speed import Speed, SpeedFile, read_speed

BATCH = new_batch_id()


class Clock:
    """A clock that tests move."""

    now = 0.0

    def __call__(self):
        return self.now


class Fast(Progress):
    """A run whose speed is set by hand."""

    speed = 100.0

    def tokens_per_second(self):
        return self.speed

    def seconds_left(self):
        return None


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def file(tmp_path, clock):
    return SpeedFile(tmp_path, BATCH, clock)


def test_the_speed_is_read_once_it_is_published(tmp_path, file):
    assert read_speed(tmp_path, BATCH) is None
    file.update(Fast())
    assert read_speed(tmp_path, BATCH) == Speed(100.0, None)


def test_the_speed_is_published_at_most_once_a_second(tmp_path, file, clock):
    progress = Fast()
    file.update(progress)
    progress.speed, clock.now = 200.0, 0.9
    file.update(progress)
    assert read_speed(tmp_path, BATCH) == Speed(100.0, None)
    clock.now = 1.0
    file.update(progress)
    assert read_speed(tmp_path, BATCH) == Speed(200.0, None)


def test_nothing_is_left_at_the_end(tmp_path, file):
    file.update(Fast())
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_not_current(tmp_path, file):
    file.update(Fast())
    (path,) = tmp_path.iterdir()
    os.utime(path, (1, 1))
    assert read_speed(tmp_path, BATCH) is None


def test_a_damaged_file_is_no_speed(tmp_path, file):
    file.update(Fast())
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"{")
    assert read_speed(tmp_path, BATCH) is None


def test_a_folder_that_is_not_writable_is_no_error(tmp_path, clock):
    SpeedFile(tmp_path / "missing", BATCH, clock).update(Fast())


def test_only_an_id_is_part_of_a_path(tmp_path):
    with pytest.raises(NotFoundError):
        read_speed(tmp_path, "../x")
