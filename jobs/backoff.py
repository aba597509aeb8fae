"""Waits between retries: they double with each failure and are partly random."""

import random
from typing import NamedTuple

_MAX_DOUBLINGS = 30


class Backoff(NamedTuple):
    """Exponential backoff with jitter, between `first` and `longest` seconds.

    The second half of each wait is random, so that processes that failed at the
    same moment do not all retry at the same moment.
    """

    first: float
    longest: float

    def seconds(self, failures: int) -> float:
        """Return how long to wait after `failures` failures in a row (1 or more)."""
        doublings = min(failures - 1, _MAX_DOUBLINGS)
        wait = min(self.first * (1 << doublings), self.longest)
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
