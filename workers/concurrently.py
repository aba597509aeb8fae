"""Runs calls that wait for the storage at the same time."""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_concurrently(
    function: Callable[[T], R], items: Collection[T], threads: int
) -> list[R]:
    """Return the result of each call, in order; raise the first error of any."""
    if len(items) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(threads, len(items)), "storage") as pool:
        return list(pool.map(function, items))
