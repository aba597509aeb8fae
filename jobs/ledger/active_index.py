"""The index of the batches that are handed over to a cluster or a server.

A batch is put in before its `batch.json` is written and taken out when it has
ended, so a killed process leaves an entry too many and never one too few. The
dispatcher works through the index, not through all batches that ever were.
"""

from collections.abc import Iterator

from batchchat.jobs.ids import checked_id, checked_project
from batchchat.jobs.ledger import records
from batchchat.jobs.storage import Storage

_PREFIX = "active/"


class ActiveIndex:
    """The batches of all projects in one storage that somebody shall run."""

    def __init__(self, storage: Storage) -> None:
        """Use the index in `storage`."""
        self._storage = storage

    def add(self, project: str, batch_id: str) -> None:
        """Put a batch in; harmless when it is there."""
        self._storage.put(_key(project, batch_id), records.MARKER)

    def remove(self, project: str, batch_id: str) -> None:
        """Take a batch out; harmless when it is gone."""
        self._storage.delete(_key(project, batch_id))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield project and id of each batch."""
        for entry in self._storage.list(_PREFIX):
            _, project, batch_id = entry.key.split("/")
            yield project, batch_id


def _key(project: str, batch_id: str) -> str:
    return f"{_PREFIX}{checked_project(project)}/{checked_id('batch', batch_id)}"
