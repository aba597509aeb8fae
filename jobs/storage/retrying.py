"""A storage that waits for one that fails for a while."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.errors import StorageError
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage.protocol import Entry, Storage, Writer, stream_range

_BACKOFF = Backoff(first=0.2, longest=5.0)

T = TypeVar("T")


class RetryingStorage:
    """Does each call again while it fails and may succeed.

    It gives up after `timeout` seconds, or when the grace of a stop is over.
    `on_waiting` hears what it waits for, and None when the wait is over. Whoever
    calls is held up meanwhile, so nothing piles up in memory. A `create` that is
    done again may find its own object there: read it back to know.
    """

    def __init__(
        self,
        storage: Storage,
        timeout: float,
        stop: ShutdownSignal,
        on_waiting: Callable[[str | None], object],
    ) -> None:
        """Wait for `storage`."""
        self.url = storage.url
        self._storage = storage
        self._timeout = timeout
        self._stop = stop
        self._on_waiting = on_waiting

    def create(self, key: str, data: bytes) -> bool:  # noqa: D102 - see Storage
        return self._retry(partial(self._storage.create, key, data))

    def put(self, key: str, data: bytes) -> None:  # noqa: D102
        self._retry(partial(self._storage.put, key, data))

    def writer(self, key: str) -> AbstractContextManager[Writer]:  # noqa: D102
        return self._storage.writer(key)

    def get(self, key: str) -> bytes:  # noqa: D102
        return self._retry(partial(self._storage.get, key))

    def read(self, key: str, offset: int, length: int) -> bytes:  # noqa: D102
        return self._retry(partial(self._storage.read, key, offset, length))

    def stream(self, key: str) -> Iterator[bytes]:  # noqa: D102
        return stream_range(self, key, 0, self.size(key))

    def size(self, key: str) -> int:  # noqa: D102
        return self._retry(partial(self._storage.size, key))

    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:  # noqa: D102
        listed = self._retry(lambda: [*self._storage.list(prefix, start_after)])
        return iter(listed)

    def folders(  # noqa: D102
        self, prefix: str, after: str = "", before: str = ""
    ) -> Iterator[str]:
        return iter(
            self._retry(lambda: [*self._storage.folders(prefix, after, before)])
        )

    def delete(self, key: str) -> None:  # noqa: D102
        self._retry(partial(self._storage.delete, key))

    def _retry(self, action: Callable[[], T]) -> T:
        until = time.monotonic() + self._timeout
        failures = 0
        while True:
            try:
                done = action()
            except StorageError as error:
                failures += 1
                wait = _BACKOFF.seconds(failures)
                late = time.monotonic() + wait > until
                if not error.retryable or late or self._stop.deadline_passed:
                    raise
                self._on_waiting(error.message)
                time.sleep(wait)
            else:
                self._on_waiting(None)
                return done
