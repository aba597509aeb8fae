"""Distinguishes an engine that hangs from a process that was suspended."""

import time
from collections.abc import Callable
from typing import Protocol

_MAX_SAMPLE_SECONDS = 5.0
"""Maximum time that one check counts; a longer gap means a suspended process."""


class _Engine(Protocol):
    def seconds_since_last_step(self) -> float | None:
        """Return the age of the last finished step, None while no request runs."""
        ...


class HangDetector:
    """Sums up for how long an engine was observed to make no progress.

    The age of the last step alone proves nothing: after a process was stopped or its
    machine suspended, the last step is old although the engine continues.
    """

    def __init__(
        self,
        engine: _Engine,
        stall_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The engine hangs after `stall_seconds` of observed time without a step."""
        self._engine = engine
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._checked_at = clock()
        self._stalled_for = 0.0

    def is_hung(self) -> bool:
        """Take a sample and return whether the engine hangs; call about once a second.

        A call is what advances the observed time, so frequent calls are required.
        """
        now = self._clock()
        elapsed = min(
            now - self._checked_at, _MAX_SAMPLE_SECONDS, self._stall_seconds / 2
        )
        self._checked_at = now
        step_age = self._engine.seconds_since_last_step()
        self._stalled_for = min(self._stalled_for + elapsed, step_age or 0.0)
        return self._stalled_for > self._stall_seconds
