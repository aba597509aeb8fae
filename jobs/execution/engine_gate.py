"""Who may use the engine: many attempts side by side, or one alone."""

from collections.abc import Callable
from threading import Condition

_POLL_SECONDS = 0.2


class EngineGate:
    """Held by many at once, or by one who must have the engine to itself.

    Whoever wants to be alone goes before those who come later.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._changed = Condition()
        self._shared = 0
        self._exclusive = False
        self._exclusive_waiting = 0

    def acquire(self, *, exclusive: bool, should_abandon: Callable[[], bool]) -> bool:
        """Wait for a place; return False if `gives_up` says so before there is one.

        `gives_up` is asked every now and then while it waits.
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
        """Give the place back."""
        with self._changed:
            if exclusive:
                self._exclusive = False
            else:
                self._shared -= 1
            self._changed.notify_all()
