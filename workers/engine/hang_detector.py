"""Tells an engine that hangs from a process that slept."""

import time
from collections.abc import Callable
from typing import Protocol

_GLANCE = 5.0
"""Seconds that one look counts for at most; more went by only if we slept too."""


class _Steps(Protocol):
    def seconds_since_last_step(self) -> float | None:
        """Return how long ago the last step ended, None where there is no work."""
        ...


class HangDetector:
    """Adds up how long an engine was seen to stand still.

    The time of its last step alone proves nothing: a process that was stopped, or
    whose machine was suspended, wakes up with an old one, and its engine steps on.
    """

    def __init__(
        self,
        engine: _Steps,
        stall: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """An engine hangs that was seen to stand still for `stall` seconds."""
        self._engine = engine
        self._stall = stall
        self._clock = clock
        self._looked = clock()
        self._stood = 0.0

    def is_hung(self) -> bool:
        """Look; say whether it hangs. To be called every second or so."""
        now = self._clock()
        here = min(now - self._looked, _GLANCE, self._stall / 2)
        self._looked = now
        idle = self._engine.seconds_since_last_step()
        self._stood = min(self._stood + here, idle or 0.0)
        return self._stood > self._stall
