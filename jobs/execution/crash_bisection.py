"""Finds the request that kills the engine, from what dead attempts left behind.

Every attempt leaves a mark when it begins, and takes it away when it ends of its
own accord. So the marks that are found are of attempts whose engine or process
died. One death proves nothing; after the second the shard has the engine to
itself, and asks for its lines in slices, each named in the mark beforehand::

    1,000 lines ─► slices of 63 ─► the one that died, in slices of 4 ─► of 1

A line that was alone with the engine at two deaths that were seen, or at four that
were not, is convicted: it becomes an error line, and all others are answered. An
engine that is broken dies of whatever it is asked first; so a death counts as seen
only if that engine had computed for others before, and a line that is suspected
alone is never asked first while there are others.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.ledger.keys import BatchKeys
from batchchat.jobs.storage import Storage

_DEATHS_BEFORE_ISOLATION = 2
_MAX_PROBE_GROUPS = 16


class AttemptMarker(msgspec.Struct, frozen=True, kw_only=True):
    """`attempts/<attempt>.json`: a try that has begun.

    `alone` are the lines that had the engine to themselves; `asked` those that
    the engine had when its death was seen; `proven` says that it had computed
    others before.
    """

    created_at: int
    isolated: tuple[int, ...] = ()
    in_flight: tuple[int, ...] = ()
    engine_proven: bool = False


@dataclass(frozen=True)
class CrashBisection:
    """What the marks of a shard say."""

    marks: tuple[AttemptMarker, ...] = ()

    @property
    def needs_isolation(self) -> bool:
        """Whether the shard must have the engine to itself."""
        return len(self.marks) >= _DEATHS_BEFORE_ISOLATION

    def poison_lines(self) -> set[int]:
        """Return the lines that are known to kill the engine.

        The death of a proven engine that was seen weighs twice as much as a mark
        that was only left behind: whole processes are also killed by people and by
        machines.
        """
        weights: Counter[int] = Counter()
        for mark in self.marks:
            if len(mark.isolated) == 1:
                weights[mark.isolated[0]] += (
                    2 if mark.in_flight and mark.engine_proven else 1
                )
        return {
            line
            for line, weight in weights.items()
            if weight >= 2 * _DEATHS_BEFORE_ISOLATION
        }

    def probe_groups(self, lines: Iterable[int]) -> Iterator[tuple[int, ...]]:
        """Cut `lines` into what is asked for at a time, the most suspect first.

        Before one that is suspected alone come others, which prove the engine.
        """
        probe_groups = list(self._by_suspicion(lines))
        if probe_groups and len(probe_groups[0]) == 1:
            probe_groups.insert(0, probe_groups.pop())
        return iter(probe_groups)

    def _by_suspicion(self, lines: Iterable[int]) -> Iterator[tuple[int, ...]]:
        left = set(lines)
        for suspects in self._suspect_sets():
            inside = left & suspects
            if inside:
                left -= inside
                yield from _cut(sorted(inside))
        yield from _cut(sorted(left))

    def _suspect_sets(self) -> list[set[int]]:
        """Return sets of lines of which one was there at a death, smallest first."""
        isolated = [set(mark.isolated) for mark in self.marks if mark.isolated]
        in_flight = [set(mark.in_flight) for mark in self.marks if mark.in_flight]
        at_all = [set.intersection(*in_flight)] if in_flight else []
        return sorted([*isolated, *at_all], key=len)


def read_markers(storage: Storage, keys: BatchKeys, shard: int) -> CrashBisection:
    """Return what the attempts that died at a shard have left."""
    found = []
    for entry in list(storage.list(keys.marks(shard))):
        try:
            found.append(
                msgspec.json.decode(storage.get(entry.key), type=AttemptMarker)
            )
        except (msgspec.MsgspecError, UnicodeDecodeError):
            found.append(AttemptMarker(created_at=0))
        except ObjectMissingError:  # its attempt has just ended
            continue
    return CrashBisection(tuple(found))


def _cut(lines: list[int]) -> Iterator[tuple[int, ...]]:
    size = max(1, -(-len(lines) // _MAX_PROBE_GROUPS))
    for at in range(0, len(lines), size):
        yield tuple(lines[at : at + size])
