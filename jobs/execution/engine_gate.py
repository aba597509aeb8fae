"""Who may use the engine: many attempts side by side, or one alone."""

from collections.abc import Callable
from threading import Condition

_LOOK = 0.2


class EngineGate:
    """Held by many at once, or by one who must have the engine to itself.

    Whoever wants to be alone goes before those who come later.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._changed = Condition()
        self._side_by_side = 0
        self._alone = False
        self._wants_alone = 0

    def take(self, *, alone: bool, gives_up: Callable[[], bool]) -> bool:
        """Wait for a place; return False if `gives_up` says so before there is one.

        `gives_up` is asked every now and then while it waits.
        """
        with self._changed:
            self._wants_alone += alone
            try:
                while self._alone or (
                    self._side_by_side if alone else self._wants_alone
                ):
                    if gives_up():
                        return False
                    self._changed.wait(_LOOK)
                if alone:
                    self._alone = True
                else:
                    self._side_by_side += 1
                return True
            finally:
                self._wants_alone -= alone

    def leave(self, *, alone: bool) -> None:
        """Give the place back."""
        with self._changed:
            if alone:
                self._alone = False
            else:
                self._side_by_side -= 1
            self._changed.notify_all()
