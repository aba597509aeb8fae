"""Finds the request that crashes the engine, from the markers of crashed attempts.

Every attempt writes a marker when it starts and deletes it when it ends in an orderly
way. So a remaining marker belongs to an attempt whose engine or process died. One
death proves nothing. After the second, the shard gets exclusive use of the engine and
submits its lines in groups, each recorded in the marker beforehand::

    1,000 lines ─► groups of 63 ─► the one that crashed, in groups of 4 ─► of 1

A line is poison once it was alone in the engine at two observed deaths, or at four
unobserved ones. It becomes an error line, and all other lines are answered.

A broken engine dies on whatever it computes first. So a death counts as observed only
if that engine had computed other requests before, and a line that is suspected alone
is not submitted first as long as there are other lines.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from batchchat.jobs.errors import CorruptObjectError, ObjectMissingError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.keys import BatchKeys
from batchchat.jobs.storage import Storage

_DEATHS_BEFORE_ISOLATION = 2
_MAX_PROBE_GROUPS = 16
_OBSERVED_WEIGHT = 2
_POISON_WEIGHT = 4
"""Two observed deaths, or four unobserved ones."""


class AttemptMarker(records.Record, frozen=True, kw_only=True):
    """`attempts/<attempt>.json`: an attempt that has started.

    `isolated` are the line numbers that had the engine to themselves, `in_flight`
    those that the engine had when its death was observed, which was for `reason`.
    `engine_proven` is true if the engine had computed other requests before.
    """

    created_at: int
    isolated: tuple[int, ...] = ()
    in_flight: tuple[int, ...] = ()
    engine_proven: bool = False
    reason: str = ""


@dataclass(frozen=True)
class CrashBisection:
    """What the markers of a shard's crashed attempts imply."""

    markers: tuple[AttemptMarker, ...] = ()

    @property
    def needs_isolation(self) -> bool:
        """Whether the shard needs exclusive use of the engine."""
        return len(self.markers) >= _DEATHS_BEFORE_ISOLATION

    def poison_lines(self) -> set[int]:
        """Return the lines that are known to crash the engine.

        An observed death of a proven engine weighs twice as much as a marker that was
        only left behind: processes are also killed by operators and by machines.
        """
        weights: Counter[int] = Counter()
        for marker in self.markers:
            if len(marker.isolated) == 1:
                is_observed = marker.in_flight and marker.engine_proven
                weights[marker.isolated[0]] += _OBSERVED_WEIGHT if is_observed else 1
        return {line for line, weight in weights.items() if weight >= _POISON_WEIGHT}

    def reason_of(self, line: int) -> str:
        """Return why the engine died when a line was alone in it, if that is known."""
        reasons = [m.reason for m in self.markers if m.isolated == (line,) and m.reason]
        return reasons[-1] if reasons else ""

    def probe_groups(self, lines: Iterable[int]) -> Iterator[tuple[int, ...]]:
        """Split `lines` into the groups to submit, most suspicious first.

        If the first group is a single line, another group goes before it, to prove
        that the engine works.
        """
        groups = list(self._by_suspicion(lines))
        if groups and len(groups[0]) == 1:
            groups.insert(0, groups.pop())
        return iter(groups)

    def _by_suspicion(self, lines: Iterable[int]) -> Iterator[tuple[int, ...]]:
        remaining = set(lines)
        for suspects in self._suspect_sets():
            group = remaining & suspects
            if group:
                remaining -= group
                yield from _split(sorted(group))
        yield from _split(sorted(remaining))

    def _suspect_sets(self) -> list[set[int]]:
        """Return sets of lines that each contain a suspect, smallest first."""
        isolated = [set(marker.isolated) for marker in self.markers if marker.isolated]
        in_flight = [
            set(marker.in_flight) for marker in self.markers if marker.in_flight
        ]
        at_every_death = [set.intersection(*in_flight)] if in_flight else []
        return sorted([*isolated, *at_every_death], key=len)


def read_markers(
    storage: Storage, keys: BatchKeys, shard: int, stored: Iterable[str]
) -> tuple[AttemptMarker, ...]:
    """Return the markers of a shard's crashed attempts. Raises `StorageError`.

    `stored` has the keys of all that attempts at the shard have stored.
    """
    markers = []
    for key in stored:
        if not key.startswith(keys.attempt_markers(shard)):
            continue
        try:
            markers.append(records.decode(AttemptMarker, storage.get(key), key))
        except CorruptObjectError:
            markers.append(AttemptMarker(created_at=0))
        except ObjectMissingError:  # its attempt has just ended
            continue
    return tuple(markers)


def _split(lines: list[int]) -> Iterator[tuple[int, ...]]:
    size = max(1, -(-len(lines) // _MAX_PROBE_GROUPS))
    for start in range(0, len(lines), size):
        yield tuple(lines[start : start + size])
