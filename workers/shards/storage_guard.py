"""Keeps a worker from taking shards that it cannot read or store.

An error of access may concern the whole storage (expired keys, a wrong clock, another
bucket) or one batch (objects of another S3 user). A probe tells them apart.
"""

import time
from collections.abc import Callable
from threading import Lock

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.errors import StorageAccessError, StorageError
from batchchat.jobs.storage import Storage
from batchchat.jobs.storage.probe import probe
from batchchat.workers.broker.throttled_log import ThrottledLog

_PROBE_SECONDS = 5.0
_PAUSE = Backoff(first=1.0, longest=30.0)
_MAX_REPORTED_BATCHES = 100
_REPORT_SECONDS = 60.0


class StorageGuard:
    """What a worker knows about its access to the storage; thread-safe."""

    def __init__(self, storage: Storage, monotonic: Callable[[], float]) -> None:
        """Probe `storage`."""
        self.problem: str | None = None
        """Why this process may not use the storage; None if it may, as far as known."""

        self.has_worked = False
        """Whether a probe or a shard has succeeded."""

        self._storage = storage
        self._monotonic = monotonic
        self._log = ThrottledLog("storage", monotonic)
        self._probed_at: float | None = None
        self._denied_batches: dict[str, tuple[float, str]] = {}
        self._denials = 0
        self._lock = Lock()

    def is_denied(self) -> bool:
        """Probe the storage, unless that was done a moment ago."""
        with self._lock:
            now = self._monotonic()
            if self._probed_at is None or now - self._probed_at >= _PROBE_SECONDS:
                self._probe()
                self._probed_at = self._monotonic()
            if self.problem is not None:
                self._log.report(self.problem)
            return self.problem is not None

    def succeeded(self) -> None:
        """Note that a shard was read and stored."""
        self.has_worked, self._denials = True, 0

    def denied_batch(self, batch_id: str, error: StorageAccessError) -> float:
        """Note a batch that this process may not read; return how long to pause.

        A worker that may not read any batch would otherwise take all messages from
        the workers that may.
        """
        with self._lock:
            self._denied_batches.pop(batch_id, None)
            self._denied_batches[batch_id] = self._monotonic(), _describe(error)
            if len(self._denied_batches) > _MAX_REPORTED_BATCHES:
                del self._denied_batches[next(iter(self._denied_batches))]
            self._denials += 1
            return _PAUSE.seconds(self._denials)

    def denied_batches(self) -> dict[str, str]:
        """Return why the batches of the last minute could not be read, by their id."""
        oldest = self._monotonic() - _REPORT_SECONDS
        with self._lock:
            found = self._denied_batches.items()
            return {batch_id: text for batch_id, (at, text) in found if at > oldest}

    def _probe(self) -> None:
        try:
            probe(self._storage)
        except StorageAccessError as error:
            self.problem = _describe(error)
        except StorageError:  # the storage is unavailable, which says nothing of access
            return
        else:
            self.problem, self.has_worked = None, True
            self._log.report(None)


def _describe(error: StorageError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message


def sleep_unless(is_stopping: Callable[[], bool], seconds: float) -> None:
    """Sleep, but end early if the process stops."""
    until = time.monotonic() + seconds
    while not is_stopping() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.5))
