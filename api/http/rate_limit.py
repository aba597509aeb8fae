"""Rate limits."""

import time
from collections.abc import Callable
from math import ceil

from batchchat.api.http.errors import ApiError


class RateLimiter:
    """A token bucket for each project."""

    def __init__(
        self, per_minute: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Allow each project `per_minute` requests a minute; None means no limit."""
        self._per_minute = per_minute
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def count(self, project: str) -> None:
        """Count a request. Raises `ApiError` (429) if it exceeds the limit."""
        if self._per_minute is None:
            return
        now = self._clock()
        left, since = self._left.get(project, (float(self._per_minute), now))
        rate = self._per_minute / 60
        left = min(float(self._per_minute), left + (now - since) * rate)
        if left < 1:
            raise ApiError(
                429,
                f"Rate limit reached: {self._per_minute:,} requests per minute. Wait"
                " for the number of seconds in the `retry-after` header.",
                code="rate_limit_exceeded",
                headers={"retry-after": f"{ceil((1 - left) / rate)}"},
            )
        self._left[project] = (left - 1, now)
