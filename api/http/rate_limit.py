"""Rate limits: requests per minute of a project."""

import time
from collections.abc import Callable
from math import ceil, floor

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

    def count(self, project: str) -> dict[str, str]:
        """Count a request and return OpenAI's rate-limit headers for its response.

        Raises:
            ApiError: the request exceeds the limit (429).

        """
        if self._per_minute is None:
            return {}
        now = self._clock()
        left, since = self._left.get(project, (float(self._per_minute), now))
        rate = self._per_minute / 60
        left = min(float(self._per_minute), left + (now - since) * rate)
        is_allowed = left >= 1
        after = left - is_allowed
        headers = {
            "x-ratelimit-limit-requests": f"{self._per_minute}",
            "x-ratelimit-remaining-requests": f"{floor(after)}",
            "x-ratelimit-reset-requests": f"{ceil((self._per_minute - after) / rate)}s",
        }
        if not is_allowed:
            raise ApiError(
                429,
                f"Rate limit reached: {self._per_minute:,} requests per minute. Wait"
                " for the number of seconds in the `retry-after` header.",
                code="rate_limit_exceeded",
                headers=headers | {"retry-after": f"{ceil((1 - left) / rate)}"},
            )
        self._left[project] = (after, now)
        return headers
