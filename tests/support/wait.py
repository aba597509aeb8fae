"""Wait for a condition: how long that takes differs between machines."""

import time
from collections.abc import Callable
from typing import TypeVar

_POLL_SECONDS = 0.02

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T | None], what: str = "", *, seconds: float = 60.0
) -> T:
    """Return the first true value of `predicate`; fail after `seconds`.

    `what` names in the failure what was waited for; by default the predicate itself.
    """
    deadline = time.monotonic() + seconds
    while not (found := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or predicate}")
        time.sleep(_POLL_SECONDS)
    return found
