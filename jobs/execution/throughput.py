"""The speed of a run, measured over the last seconds, and the time that it needs."""

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

_SAMPLE_SECONDS = 0.25
_SPEED_SECONDS = 10.0
"""The window for the speed that is shown."""

_ESTIMATE_SECONDS = 30.0
"""The window for the rate that predicts the end; longer, as results come in waves."""

_MIN_STABLE_SECONDS = 5.0
_MAX_STABLE_DIFFERENCE = 0.3
"""How much the halves of a window may differ, as a share of the faster one."""

_ALWAYS_STABLE_SECONDS = 60.0
"""Time after which the rate counts as stable in any case."""


class _Sample(NamedTuple):
    at: float
    tokens: float
    requests: float


class Throughput:
    """Samples of how many tokens and requests a run has finished."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without samples; `clock` returns seconds."""
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Forget everything, because another engine starts."""
        self._samples: deque[_Sample] = deque()
        self._began_at: float | None = None
        self._is_stable = False

    def observe(self, tokens: float, requests: float) -> None:
        """Record the totals of the run; parts of unfinished requests count too."""
        samples, now = self._samples, self._clock()
        if samples and tokens < samples[-1].tokens:
            self.restart()
            samples = self._samples
        if tokens and self._began_at is None:
            self._began_at = now
        if len(samples) > 1 and now - samples[-2].at < _SAMPLE_SECONDS:
            samples.pop()
        samples.append(_Sample(now, tokens, requests))
        while len(samples) > 1 and samples[1].at <= now - _ESTIMATE_SECONDS:
            samples.popleft()

    def tokens_per_second(self) -> float:
        """Return the tokens per second over the last 10 seconds."""
        samples = self._window(_SPEED_SECONDS)
        seconds = samples[-1].at - samples[0].at if samples else 0.0
        return (samples[-1].tokens - samples[0].tokens) / seconds if seconds else 0.0

    def requests_per_second(self) -> float | None:
        """Return the rate of the last 30 seconds, None until it is stable."""
        samples = self._window(_ESTIMATE_SECONDS)
        if self._began_at is None or len(samples) < 2:  # noqa: PLR2004 - two ends
            return None
        rate = _rate(samples[0], samples[-1])
        self._is_stable = self._is_stable or self._halves_agree(samples)
        return rate if self._is_stable and rate > 0 else None

    def _window(self, seconds: float) -> list[_Sample]:
        """Return the samples of the last `seconds`, from the first token on."""
        begin = max(self._clock() - seconds, self._began_at or 0.0)
        inside = [sample for sample in self._samples if sample.at >= begin]
        before = [sample for sample in self._samples if sample.at < begin]
        return before[-1:] + inside

    def _halves_agree(self, samples: list[_Sample]) -> bool:
        seconds = self._clock() - (self._began_at or 0.0)
        if seconds < _MIN_STABLE_SECONDS:
            return False
        middle_at = (samples[0].at + samples[-1].at) / 2
        middle = min(samples, key=lambda sample: abs(sample.at - middle_at))
        slow, fast = sorted([_rate(samples[0], middle), _rate(middle, samples[-1])])
        is_level = fast - slow <= fast * _MAX_STABLE_DIFFERENCE
        return is_level or seconds > _ALWAYS_STABLE_SECONDS


def _rate(first: _Sample, last: _Sample) -> float:
    seconds = last.at - first.at
    return (last.requests - first.requests) / seconds if seconds > 0 else 0.0
