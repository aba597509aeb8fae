"""Which batches somebody wants to hear of, and how often they were told.

::

    outbox/<project>/<batch>.pending                  the project has endpoints
                     <batch>.try.<endpoint>.<n>    create-once: this try is somebody's
                     <batch>.done.<endpoint>       delivered, or given up

Several servers may work through it: whoever creates a try makes it. A server that
dies after that leaves the next try to whoever comes when it is due.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from batchchat.jobs.ids import checked_id, checked_project
from batchchat.jobs.storage import Storage

_PREFIX = "outbox/"


@dataclass
class PendingEvent:
    """A batch that somebody wants to hear of."""

    project: str
    batch_id: str
    is_pending: bool = False
    """False for what is left of an event that is being taken out."""

    tries: dict[str, int] = field(default_factory=dict)
    """How many tries there were, by endpoint."""

    done: set[str] = field(default_factory=set)


class Outbox:
    """The letters of all projects in one storage."""

    def __init__(self, storage: Storage) -> None:
        """Use the outbox in `storage`."""
        self._storage = storage

    def add(self, project: str, batch_id: str) -> None:
        """Note that somebody wants to hear of the batch."""
        self._storage.put(f"{_place(project, batch_id)}pending", b"{}")

    def record_attempt(self, event: PendingEvent, endpoint_id: str, now: int) -> bool:
        """Take the next try for oneself; False if another server has taken it."""
        number = event.tries.get(endpoint_id, 0)
        return self._storage.create(_try(event, endpoint_id, number), b"%d" % now)

    def last_attempt_at(self, event: PendingEvent, endpoint_id: str) -> int:
        """Return when the last try was, in Unix seconds."""
        number = event.tries[endpoint_id] - 1
        return int(self._storage.get(_try(event, endpoint_id, number)))

    def mark_delivered(self, event: PendingEvent, endpoint_id: str) -> None:
        """Note that an endpoint needs no more tries."""
        place = _place(event.project, event.batch_id)
        self._storage.put(f"{place}done.{endpoint_id}", b"{}")

    def remove(self, event: PendingEvent) -> None:
        """Take the event out: the wish first, since without it nobody is told."""
        place = _place(event.project, event.batch_id)
        self._storage.delete(f"{place}pending")
        for entry in list(self._storage.list(place)):
            self._storage.delete(entry.key)

    def __iter__(self) -> Iterator[PendingEvent]:
        """Yield the letters."""
        keys = [entry.key.split("/")[1:] for entry in self._storage.list(_PREFIX)]
        names = ((project, name.split(".")) for project, name in keys)
        for (project, batch_id), parts in groupby(
            names, lambda name: (name[0], name[1][0])
        ):
            event = PendingEvent(project, batch_id)
            for _, part in parts:
                match part[1:]:
                    case ["pending"]:
                        event.is_pending = True
                    case ["try", endpoint_id, _]:
                        event.tries[endpoint_id] = event.tries.get(endpoint_id, 0) + 1
                    case ["done", endpoint_id]:
                        event.done.add(endpoint_id)
            yield event


def _place(project: str, batch_id: str) -> str:
    return f"{_PREFIX}{checked_project(project)}/{checked_id('batch', batch_id)}."


def _try(event: PendingEvent, endpoint_id: str, number: int) -> str:
    place = _place(event.project, event.batch_id)
    return f"{place}try.{checked_id('webhook', endpoint_id)}.{number:03d}"
