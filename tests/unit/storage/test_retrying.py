"""Calls of a storage are retried while it is unavailable."""

import time

import pytest

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.errors import CorruptObjectError, ObjectMissingError, StorageError
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage import MemoryStorage, RetryingStorage

ALWAYS = 10**9


class Failing(MemoryStorage):
    """Fails so often with `error`, then works."""

    def __init__(self, times, error=None):
        super().__init__()
        self.put("a", b"x")
        self.left = times
        self.error = error or StorageError("down")
        self.calls = 0

    def get(self, key):
        self.calls += 1
        if self.calls <= self.left:
            raise self.error
        return super().get(key)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(
        "batchchat.jobs.storage.retrying._BACKOFF", Backoff(0.0005, 5.0)
    )


@pytest.fixture
def heard():
    return []


@pytest.fixture
def patient(heard):
    def wrap(storage, patience=60.0, stop=None):
        return RetryingStorage(
            storage, patience, stop or ShutdownSignal(), heard.append
        )

    return wrap


def test_a_call_is_retried_until_it_succeeds(patient, heard):
    failing = Failing(3)
    assert patient(failing).get("a") == b"x"
    assert failing.calls == 4
    assert heard == ["down", "down", "down", None]


def test_a_call_that_succeeds_at_once_reports_only_its_success(patient, heard):
    patient(Failing(0)).get("a")
    assert heard == [None]


def test_retries_end_after_the_timeout(patient):
    failing = Failing(ALWAYS)
    begun = time.monotonic()
    with pytest.raises(StorageError, match="down"):
        patient(failing, patience=0.02).get("a")
    assert failing.calls > 1
    assert time.monotonic() - begun < 1


def test_without_a_timeout_a_call_is_made_once(patient):
    failing = Failing(ALWAYS)
    with pytest.raises(StorageError):
        patient(failing, patience=0).get("a")
    assert failing.calls == 1


@pytest.mark.parametrize("kind", [ObjectMissingError, CorruptObjectError])
def test_a_permanent_error_is_raised_at_once(patient, heard, kind):
    failing = Failing(ALWAYS, kind("a"))
    with pytest.raises(kind):
        patient(failing).get("a")
    assert (failing.calls, heard) == (1, [])


def test_other_errors_are_not_retried(patient):
    failing = Failing(ALWAYS, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        patient(failing).get("a")
    assert failing.calls == 1


def test_retries_end_when_the_grace_period_is_over(patient):
    failing, stop = Failing(ALWAYS), ShutdownSignal()
    stop.request(grace=0)
    with pytest.raises(StorageError):
        patient(failing, stop=stop).get("a")
    assert failing.calls == 1


def test_retries_continue_during_the_grace_period(patient):
    stop = ShutdownSignal()
    stop.request(grace=60)
    assert patient(Failing(2), stop=stop).get("a") == b"x"


def test_a_failed_listing_is_repeated_from_its_beginning(patient):
    class Torn(MemoryStorage):
        torn = False

        def list(self, prefix, start_after=""):
            for entry in super().list(prefix, start_after):
                yield entry
                if not self.torn:
                    self.torn = True
                    raise StorageError("cut off")

    storage = Torn()
    storage.put("a", b"")
    storage.put("b", b"")
    assert [entry.key for entry in patient(storage).list("")] == ["a", "b"]
