"""The outbox: batches whose end is still to be sent to webhook endpoints.

::

    outbox/<project>/<batch>.pending                   the project has endpoints
                     <batch>.try.<endpoint>.<number>   create-once: one attempt
                     <batch>.done.<endpoint>           delivered, or given up

Several servers may process the outbox: the one that creates an attempt's object makes
that attempt. If it dies, the next attempt falls to any server once it is due.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.ids import checked_id, checked_project
from batchchat.jobs.ledger import records
from batchchat.jobs.storage import Storage

_PREFIX = "outbox/"
_BACKOFF = Backoff(first=5, longest=6 * 3_600)


class Attempt(records.Record, frozen=True):
    """One attempt to send an event; times are Unix seconds.

    `retry_at` is when the next attempt is due if this one fails.
    """

    created_at: int
    retry_at: int


@dataclass
class PendingEvent:
    """A batch whose end is to be sent to the project's endpoints."""

    project: str
    batch_id: str
    is_pending: bool = False
    """False if only leftovers of an event remain, whose removal was interrupted."""

    tries: dict[str, int] = field(default_factory=dict)
    """Number of attempts so far, by endpoint."""

    done: set[str] = field(default_factory=set)
    """Endpoints that need no further attempt."""


class Outbox:
    """The pending events of all projects in one storage."""

    def __init__(self, storage: Storage) -> None:
        """Use the outbox in `storage`."""
        self._storage = storage

    def add(self, project: str, batch_id: str) -> None:
        """Add a batch; its event is sent when the batch has ended."""
        self._storage.put(f"{_prefix(project, batch_id)}pending", records.MARKER)

    def is_due(self, event: PendingEvent, endpoint_id: str, now: int) -> bool:
        """Return whether the next attempt should be made now."""
        tries = event.tries.get(endpoint_id, 0)
        if not tries:
            return True
        key = _attempt_key(event, endpoint_id, tries - 1)
        try:
            attempt = records.decode(Attempt, self._storage.get(key), key)
        except ObjectMissingError:  # another server has finished this event
            return False
        return now >= attempt.retry_at

    def record_attempt(self, event: PendingEvent, endpoint_id: str, now: int) -> bool:
        """Claim the next attempt; return False if another server has claimed it."""
        tries = event.tries.get(endpoint_id, 0)
        attempt = Attempt(now, now + round(_BACKOFF.seconds(tries + 1)))
        key = _attempt_key(event, endpoint_id, tries)
        return self._storage.create(key, records.encode(attempt))

    def mark_delivered(self, event: PendingEvent, endpoint_id: str) -> None:
        """Note that an endpoint needs no further attempt."""
        prefix = _prefix(event.project, event.batch_id)
        self._storage.put(f"{prefix}done.{endpoint_id}", records.MARKER)

    def remove(self, event: PendingEvent) -> None:
        """Remove an event.

        The `pending` object goes first: without it, nothing more is sent even if the
        removal is interrupted.
        """
        prefix = _prefix(event.project, event.batch_id)
        self._storage.delete(f"{prefix}pending")
        for entry in list(self._storage.list(prefix)):
            self._storage.delete(entry.key)

    def __iter__(self) -> Iterator[PendingEvent]:
        """Yield the pending events."""
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


def _prefix(project: str, batch_id: str) -> str:
    return f"{_PREFIX}{checked_project(project)}/{checked_id('batch', batch_id)}."


def _attempt_key(event: PendingEvent, endpoint_id: str, number: int) -> str:
    prefix = _prefix(event.project, event.batch_id)
    return f"{prefix}try.{checked_id('webhook', endpoint_id)}.{number:03d}"
