"""Admits many attempts to the engine at once, or one with exclusive use of it."""

from collections.abc import Callable
from threading import Condition

_POLL_SECONDS = 0.2


class EngineGate:
    """A shared/exclusive lock; waiting exclusive users go before later shared ones."""

    def __init__(self) -> None:
        """Start unlocked."""
        self._changed = Condition()
        self._shared = 0
        self._exclusive = False
        self._exclusive_waiting = 0

    def acquire(self, *, exclusive: bool, should_abandon: Callable[[], bool]) -> bool:
        """Wait for the lock; return False if `should_abandon` returned true first.

        `should_abandon` is called every 0.2 seconds while waiting.
        """
        with self._changed:
            self._exclusive_waiting += exclusive
            try:
                while self._exclusive or (
                    self._shared if exclusive else self._exclusive_waiting
                ):
                    if should_abandon():
                        return False
                    self._changed.wait(_POLL_SECONDS)
                if exclusive:
                    self._exclusive = True
                else:
                    self._shared += 1
                return True
            finally:
                self._exclusive_waiting -= exclusive

    def release(self, *, exclusive: bool) -> None:
        """Release the lock."""
        with self._changed:
            if exclusive:
                self._exclusive = False
            else:
                self._shared -= 1
            self._changed.notify_all()
