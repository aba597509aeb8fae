"""The index of the unfinished batches that a cluster or a server runs.

A batch is added before its `batch.json` is written, and removed after it has ended. So
a killed process may leave an extra entry, but never omits one. The dispatcher reads
this index and not the list of all batches.
"""

from collections.abc import Iterator
from decimal import Decimal
from secrets import randbelow
from typing import NamedTuple

from batchchat.jobs.errors import (
    CorruptObjectError,
    NewerFormatError,
    ObjectMissingError,
)
from batchchat.jobs.ids import checked_id, checked_project, is_batch_id, is_project
from batchchat.jobs.ledger import records
from batchchat.jobs.storage import Storage

_PREFIX = "active/"
_VERSIONS = 1_000


class IndexEntry(NamedTuple):
    """A batch of the index; its version differs after the batch was added again."""

    project: str
    batch_id: str
    version: int


class ActiveBatch(records.Record, frozen=True, kw_only=True):
    """An entry: what the batch may need, which counts against its project's limits.

    `max_cost` is in US dollars. Entries of older versions hold neither.
    """

    requests: int = 0
    max_cost: Decimal | None = None


_UNKNOWN = ActiveBatch()


class ActiveIndex:
    """The unfinished batches of all projects in one storage."""

    def __init__(self, storage: Storage) -> None:
        """Use the index in `storage`."""
        self._storage = storage

    def add(self, project: str, batch_id: str, needs: ActiveBatch = _UNKNOWN) -> None:
        """Add a batch; adding it again is harmless."""
        self._storage.put(_key(project, batch_id), records.encode(needs))

    def touch(self, project: str, batch_id: str) -> None:
        """Add a batch again, so that the dispatcher reads its records soon.

        Listings return the size of an entry, so the size serves as its version.
        """
        key = _key(project, batch_id)
        try:
            entry = self._storage.get(key).rstrip()  # perhaps of a newer version
        except ObjectMissingError:
            entry = records.encode(_UNKNOWN)
        padding = b" " * (1 + randbelow(_VERSIONS))
        self._storage.put(key, entry + padding)

    def get(self, project: str, batch_id: str) -> ActiveBatch:
        """Return what a batch may need; nothing if its entry cannot be read."""
        key = _key(project, batch_id)
        try:
            return records.decode(ActiveBatch, self._storage.get(key), key)
        except (ObjectMissingError, CorruptObjectError, NewerFormatError):
            return _UNKNOWN

    def of_project(self, project: str) -> Iterator[str]:
        """Yield the ids of a project's batches."""
        names = self._storage.folders(f"{_PREFIX}{checked_project(project)}")
        yield from filter(is_batch_id, names)

    def remove(self, project: str, batch_id: str) -> None:
        """Remove a batch; removing it again is harmless."""
        self._storage.delete(_key(project, batch_id))

    def contains(self, project: str, batch_id: str) -> bool:
        """Return whether a batch is in the index."""
        try:
            self._storage.size(_key(project, batch_id))
        except ObjectMissingError:
            return False
        return True

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield the project and the id of each batch."""
        for entry in self.entries():
            yield entry.project, entry.batch_id

    def entries(self) -> Iterator[IndexEntry]:
        """Yield each batch with the version of its entry; skip foreign objects."""
        for entry in self._storage.list(_PREFIX):
            project, _, batch_id = entry.key.removeprefix(_PREFIX).partition("/")
            if is_project(project) and is_batch_id(batch_id):
                yield IndexEntry(project, batch_id, entry.size)


def _key(project: str, batch_id: str) -> str:
    return f"{_PREFIX}{checked_project(project)}/{checked_id('batch', batch_id)}"
