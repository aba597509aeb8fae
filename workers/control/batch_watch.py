"""Which batches a sweep has to read, and the states of the others since they were read.

A batch is read again soon while a worker may be changing it, and otherwise after a
growing time: a batch that waits for a worker hardly changes. A cancellation adds the
batch to the index again, which changes its entry.
"""

from collections.abc import Collection
from dataclasses import dataclass

from batchchat.jobs.ledger.active_index import IndexEntry
from batchchat.jobs.ledger.state import State
from batchchat.jobs.results.delivery import is_due

_BUSY_WAIT = 0.75
"""Time until a batch that workers have is read again, in intervals between sweeps: a
sweep may begin early, because a controller has finished some work."""

_LONGEST_WAIT = 15
"""Longest time until a batch is read again, in intervals between sweeps."""


@dataclass
class _Watched:
    """What is known of a batch; `wait` is the time between two reads, in seconds.

    It was read at `read_at` by the monotonic clock, and at `time` in Unix seconds.
    """

    version: int
    read_at: float
    time: int
    wait: float
    state: State | None = None


class BatchWatch:
    """The batches of a dispatcher."""

    def __init__(self, interval: float) -> None:
        """`interval` is the time between two sweeps, in seconds."""
        self._interval = interval
        self._watched: dict[str, _Watched] = {}
        self._touched: set[str] = set()

    def retain(self, entries: Collection[IndexEntry]) -> None:
        """Forget all batches but these."""
        ids = {entry.batch_id for entry in entries}
        self._watched = {
            batch_id: one for batch_id, one in self._watched.items() if batch_id in ids
        }

    def due(
        self, entries: Collection[IndexEntry], busy: set[str], now: float, time: int
    ) -> list[IndexEntry]:
        """Return the batches to read at `now`; `busy` are those that workers have.

        `now` is by the monotonic clock, `time` in Unix seconds.
        """
        touched = self._touched.copy()
        self._touched -= touched  # what other threads add meanwhile stays
        return [
            entry
            for entry in entries
            if entry.batch_id in touched
            or self._is_due(entry, now, time, is_busy=entry.batch_id in busy)
        ]

    def _is_due(
        self, entry: IndexEntry, now: float, time: int, *, is_busy: bool
    ) -> bool:
        watched = self._watched.get(entry.batch_id)
        if watched is None or watched.version != entry.version:
            return True
        state = watched.state
        changes = is_busy or (
            state is not None
            and (is_due(state, time) if state.is_terminal else state.has_expired(time))
        )
        wait = _BUSY_WAIT * self._interval if changes else watched.wait
        return now - watched.read_at >= wait

    def record(
        self, entry: IndexEntry, state: State | None, now: float, time: int
    ) -> None:
        """Remember the state that was read at `now`; None if it could not be read."""
        earlier = self._watched.get(entry.batch_id)
        is_unchanged = earlier is not None and earlier.state == state
        wait = 2 * self._interval
        if earlier is not None and is_unchanged and earlier.version == entry.version:
            wait = min(2 * earlier.wait, _LONGEST_WAIT * self._interval)
        self._watched[entry.batch_id] = _Watched(entry.version, now, time, wait, state)

    def touch(self, batch_id: str) -> None:
        """Have a batch read by the next sweep, even if one is reading it now."""
        self._touched.add(batch_id)

    def last_read(self, batch_id: str) -> tuple[State | None, float, int]:
        """Return the last known state of a batch, and when it was read by both clocks.

        Decide about its deadline by that time: an extension is read only after it.
        """
        watched = self._watched.get(batch_id)
        if watched is None:
            return None, 0.0, 0
        return watched.state, watched.read_at, watched.time
