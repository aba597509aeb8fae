"""The log of a run: bounded, private, and read for the reason of a crash."""

import os
from contextlib import closing

import pytest

from batchchat.workers.engine import log_file
from batchchat.workers.engine.log_file import EngineLog, log_hint
from tests.support.wait import wait_until


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "batch_1.log"


@pytest.fixture
def log(path):
    with closing(EngineLog(path)) as log:
        yield log


def test_a_second_run_is_appended_to_the_log_of_the_first(path):
    for text in (b"first\n", b"second\n"):
        with closing(EngineLog(path)) as log:
            os.write(log.descriptor, text)
    lines = path.read_text().splitlines()
    assert [line.startswith("--- run of ") for line in lines] == [True, False] * 2
    assert lines[1::2] == ["first", "second"]


def test_only_the_user_can_read_the_log(path):
    EngineLog(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_hint_names_the_log_while_it_is_open(path):
    with closing(EngineLog(path)):
        assert str(path) in log_hint()
    assert "BATCHCHAT_ENGINE_LOG" in log_hint()


def test_the_log_is_bounded(path, monkeypatch):
    monkeypatch.setattr(log_file, "_MAX_BYTES", 1000)
    monkeypatch.setattr(log_file, "_CHECK_SECONDS", 0.01)
    with closing(EngineLog(path)) as log:
        os.write(log.descriptor, b"a" * 2000)
        wait_until(lambda: path.stat().st_size == 0)
        os.write(log.descriptor, b"end")
        assert path.read_text() == "end"
        assert path.with_suffix(".log.1").stat().st_size > 2000


def test_old_logs_are_deleted(path, monkeypatch):
    monkeypatch.setattr(log_file, "_MAX_FILES", 3)
    for number in range(6):
        with closing(EngineLog(path.with_name(f"batch_{number}.log"))):
            pass
        os.utime(path.with_name(f"batch_{number}.log"), (number, number))
    kept = {file.name for file in path.parent.iterdir()}
    assert kept == {f"batch_{number}.log" for number in (2, 3, 4, 5)}


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("nothing", None),
        ("torch.OutOfMemoryError: no memory", "torch.OutOfMemoryError: no memory"),
        (
            "(EngineCore) ERROR core.py:9] RuntimeError: offset\nEngineDeadError: x",
            "RuntimeError: offset",
        ),
        ("ValueError: first\nOSError: second\nat the end", "OSError: second"),
    ],
)
def test_the_last_error_is_the_cause_of_a_crash(log, printed, expected):
    os.write(log.descriptor, f"{printed}\n".encode())
    assert log.last_error() == expected


def test_errors_of_earlier_runs_are_no_cause(path):
    with closing(EngineLog(path)) as log:
        os.write(log.descriptor, b"ValueError: earlier\n")
    with closing(EngineLog(path)) as log:
        assert log.last_error() is None


def test_a_log_that_cannot_be_written_is_discarded(tmp_path):
    (tmp_path / "file").touch()
    with closing(EngineLog(tmp_path / "file" / "x.log")) as log:
        os.write(log.descriptor, b"text")
        assert log.last_error() is None
        assert "BATCHCHAT_ENGINE_LOG" in log_hint()
