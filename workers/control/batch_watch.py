"""Which batches a sweep has to read, and the states of the others since they were read.

A batch is read again soon while a worker may be changing it, and otherwise after a
growing time: a batch that waits for a worker hardly changes. A cancellation adds the
batch to the index again, which changes its entry.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

from batchchat.jobs.ledger.active_index import IndexEntry
from batchchat.jobs.ledger.record_caches import plan_weight
from batchchat.jobs.ledger.state import State
from batchchat.jobs.results.delivery import is_due

_BUSY_WAIT = 0.75
"""Time until a batch that workers have is read again, in intervals between sweeps: a
sweep may begin early, because a controller has finished some work."""

_LONGEST_WAIT = 15
"""Longest time until a batch is read again, in intervals between sweeps."""

MAX_BYTES = 128 * 1024 * 1024
"""Memory for the states of batches, among them their plans."""

_STATE_BYTES = 20_000
"""What a state takes without its plan: a batch's metadata may have 9 KB."""

_SHARD_BYTES = 150
"""What a dispatcher needs for each pending shard, beside the plan."""


@dataclass
class _Watched:
    """What is known of a batch; `wait` is the time between two reads, in seconds.

    It was read at `read_at` by the monotonic clock, and at `time` in Unix seconds. The
    state takes `weight` bytes of memory.
    """

    version: int
    read_at: float
    time: int
    wait: float
    state: State | None = None
    weight: int = 0


class BatchWatch:
    """The batches of a dispatcher, as many as fit into a number of bytes."""

    def __init__(self, interval: float, max_bytes: int = MAX_BYTES) -> None:
        """`interval` is the time between two sweeps, in seconds."""
        self._interval = interval
        self._max_bytes = max_bytes
        self._weights: dict[str, int] = {}
        self._watched: dict[str, _Watched] = {}
        self._touched: set[str] = set()

    def choose(self, entries: Collection[IndexEntry]) -> list[IndexEntry]:
        """Return those that fit into the memory, and forget the states of all others.

        Projects come in turn, each with its oldest batches first. The others wait until
        some of these have ended.
        """
        ids = {entry.batch_id for entry in entries}
        self._weights = {one: w for one, w in self._weights.items() if one in ids}
        chosen, size = {}, 0
        for entry in _in_turn(entries):
            if size >= self._max_bytes:
                break
            chosen[entry.batch_id] = entry
            size += self._weights.get(entry.batch_id, 0)
        self._watched = {
            one: watched for one, watched in self._watched.items() if one in chosen
        }
        return list(chosen.values())

    def has_room(self, batch_id: str) -> bool:
        """Return whether the state of a batch may be read: it is known, or fits."""
        if batch_id in self._watched:
            return True
        watched = list(self._watched.values())
        return sum(one.weight for one in watched) < self._max_bytes

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
        if state is not None and state.final:  # only its delivery matters
            state = replace(state, plan=None)
        earlier = self._watched.get(entry.batch_id)
        is_unchanged = earlier is not None and earlier.state == state
        wait = 2 * self._interval
        if earlier is not None and is_unchanged and earlier.version == entry.version:
            wait = min(2 * earlier.wait, _LONGEST_WAIT * self._interval)
        weight = _weight(state, earlier)
        self._weights[entry.batch_id] = weight
        self._watched[entry.batch_id] = _Watched(
            entry.version, now, time, wait, state, weight
        )

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


def _in_turn(entries: Collection[IndexEntry]) -> Iterator[IndexEntry]:
    """Yield the oldest batch of each project, then the second oldest, and so on."""
    by_project: dict[str, list[IndexEntry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.batch_id):
        by_project[entry.project].append(entry)
    for row in zip_longest(*by_project.values()):
        yield from filter(None, row)


def _weight(state: State | None, earlier: _Watched | None) -> int:
    """Return the bytes of memory that a state takes, at most."""
    if state is None or state.plan is None:
        return _STATE_BYTES
    if earlier and earlier.state and earlier.state.plan is state.plan:
        return earlier.weight
    shards = _SHARD_BYTES * len(state.plan.shards)
    return _STATE_BYTES + plan_weight(state.plan) + shards
