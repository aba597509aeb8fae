"""Divides what a controller can do at once between the projects.

Planning a file takes from milliseconds to hours, and so does writing the results of a
batch. So a project gets only a part of the places for control work, and what is in
progress computes in turns: what has computed for a slice lets the work of another
project continue, and resumes later.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Condition
from typing import NamedTuple

PIECE_BYTES = 256 * 1024
"""Bytes of an input that are processed between two checks of the slice."""

_SLICE_SECONDS = 1.0

_PATIENCE_SECONDS = 2.0
"""How long work waits for a place, which is free within that time if work is short."""

Pause = Callable[[], None]
"""Lets other work compute if the slice is over and one waits; called often."""


class _Waiter(NamedTuple):
    project: str
    ticket: int


class FairTurns:
    """Lets a few of many threads compute, and alternates between their projects."""

    def __init__(
        self,
        turns: int,
        slice_seconds: float = _SLICE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let `turns` threads compute at the same time."""
        self._free = turns
        self._slice_seconds = slice_seconds
        self._clock = clock
        self._tickets = count()
        self._waiting: list[_Waiter] = []
        self._running: Counter[str] = Counter()
        self._served: dict[str, int] = {}
        self._changed = Condition()

    @contextmanager
    def taking(self, project: str) -> Iterator[Pause]:
        """Compute in turns during the block, which calls what it gets often."""
        self._begin(project)
        began = self._clock()

        def pause() -> None:
            nonlocal began
            if self._clock() - began < self._slice_seconds:
                return
            if self._waiting:
                self._begin(project, had_turn=True)
            began = self._clock()

        try:
            yield pause
        finally:
            self._end(project)

    def _begin(self, project: str, *, had_turn: bool = False) -> None:
        """Wait for a turn, after giving back the one that the thread had."""
        with self._changed:
            waiter = _Waiter(project, next(self._tickets))
            self._waiting.append(waiter)
            if had_turn:
                self._give_back(project)
            self._changed.wait_for(lambda: self._free and self._next() == waiter)
            self._waiting.remove(waiter)
            self._free -= 1
            self._running[project] += 1
            self._served[project] = next(self._tickets)
            self._changed.notify_all()

    def _end(self, project: str) -> None:
        with self._changed:
            self._give_back(project)
            self._forget_absent()

    def _give_back(self, project: str) -> None:
        self._free += 1
        self._running[project] -= 1
        self._changed.notify_all()

    def _next(self) -> _Waiter:
        """Return the waiter whose project computes least and was served longest ago."""
        return min(
            self._waiting,
            key=lambda waiter: (
                self._running[waiter.project],
                self._served.get(waiter.project, -1),
                waiter.ticket,
            ),
        )

    def _forget_absent(self) -> None:
        """Free the memory of projects that neither compute nor wait."""
        self._running = +self._running
        if not self._waiting:
            self._served = {
                project: ticket
                for project, ticket in self._served.items()
                if project in self._running
            }


class FairPlaces:
    """Gives each project at most half of the places that the others leave."""

    def __init__(self, places: int, patience: float = _PATIENCE_SECONDS) -> None:
        """Divide this many places; wait for one up to `patience` seconds."""
        self._places = places
        self._patience = patience
        self._taken: Counter[str] = Counter()
        self._changed = Condition()

    @contextmanager
    def taken(self, project: str) -> Iterator[bool]:
        """Take a place during the block; yield whether the project has got one."""
        with self._changed:
            is_taken = self._changed.wait_for(
                lambda: self._has_place(project), self._patience
            )
            self._taken[project] += is_taken
        try:
            yield is_taken
        finally:
            with self._changed:
                self._taken[project] -= is_taken
                self._taken = +self._taken
                self._changed.notify_all()

    def _has_place(self, project: str) -> bool:
        others = self._taken.total() - self._taken[project]
        return self._taken[project] < fair_part(self._places, others)


def fair_part(places: int, others: int) -> int:
    """Return how many places a project may have while others have `others`."""
    return max(1, (places - others) // 2)


def paused(chunks: Iterable[bytes], pause: Pause) -> Iterator[bytes]:
    """Yield the bytes of `chunks` in pieces, with a pause before each."""
    for chunk in chunks:
        for begin in range(0, len(chunk), PIECE_BYTES):
            pause()
            yield chunk[begin : begin + PIECE_BYTES]
