"""Waiting for something that another thread or process does."""

import time
from collections.abc import Callable


def wait_until(is_done: Callable[[], object], seconds: float = 10) -> None:
    """Poll `is_done` until it returns something true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)
