"""A cache of bounded size that drops the entries that were not used for longest."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """The least recently used entries are dropped first. Thread-safe.

    The sizes of all entries together stay within `max_size`. By default each entry
    has size 1, so that `max_size` is a number of entries.
    """

    def __init__(
        self, max_size: int, size_of: Callable[[V], int] = lambda _value: 1
    ) -> None:
        """Start empty."""
        self._max_size = max_size
        self._size_of = size_of
        self._size = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """Return the value, None if it is not cached."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: K, value: V) -> None:
        """Cache a value in place of an older one, and drop what no longer fits.

        Put a value again if its size has changed.
        """
        with self._lock:
            self._remove(key)
            size = self._size_of(value)
            self._entries[key] = value, size
            self._size += size
            while self._size > self._max_size:
                self._remove(next(iter(self._entries)))

    def remove(self, key: K) -> None:
        """Drop a value, if it is cached."""
        with self._lock:
            self._remove(key)

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._entries.clear()
            self._size = 0

    def _remove(self, key: K) -> None:
        if key in self._entries:
            self._size -= self._entries.pop(key)[1]
