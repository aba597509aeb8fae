"""A storage that retries the calls of another one while it is unavailable."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

from typing_extensions import override

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.errors import StorageError
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage.protocol import Entry, Storage, Writer, stream_range

_BACKOFF = Backoff(first=0.2, longest=5.0)

T = TypeVar("T")


class RetryingStorage(Storage):
    """Retries each call that fails with a retryable error.

    It gives up after `timeout` seconds, or once the deadline of `stop` has passed.
    `on_waiting` is called with the reason of each wait, and with None after a call
    that succeeded. Calls block meanwhile, so no data accumulates in memory. A retried
    `create` may find the object that its first attempt wrote: read it back to know.
    """

    def __init__(
        self,
        storage: Storage,
        timeout: float,
        stop: ShutdownSignal,
        on_waiting: Callable[[str | None], object],
    ) -> None:
        """Retry the calls of `storage`."""
        self.url = storage.url
        self._storage = storage
        self._timeout = timeout
        self._stop = stop
        self._on_waiting = on_waiting

    @override
    def create(self, key: str, data: bytes) -> bool:
        return self._retry(partial(self._storage.create, key, data))

    @override
    def put(self, key: str, data: bytes) -> None:
        self._retry(partial(self._storage.put, key, data))

    @override
    def writer(self, key: str) -> AbstractContextManager[Writer]:
        return self._storage.writer(key)

    @override
    def get(self, key: str) -> bytes:
        return self._retry(partial(self._storage.get, key))

    @override
    def read(self, key: str, offset: int, length: int) -> bytes:
        return self._retry(partial(self._storage.read, key, offset, length))

    @override
    def stream(self, key: str) -> Iterator[bytes]:
        return stream_range(self, key, 0, self.size(key))

    @override
    def size(self, key: str) -> int:
        return self._retry(partial(self._storage.size, key))

    @override
    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        listed = self._retry(lambda: [*self._storage.list(prefix, start_after)])
        return iter(listed)

    @override
    def folders(self, prefix: str, after: str = "", before: str = "") -> Iterator[str]:
        return iter(
            self._retry(lambda: [*self._storage.folders(prefix, after, before)])
        )

    @override
    def delete(self, key: str) -> None:
        self._retry(partial(self._storage.delete, key))

    @override
    def delete_all(self, keys: Iterable[str]) -> None:
        self._retry(partial(self._storage.delete_all, list(keys)))

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
