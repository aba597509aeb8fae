"""The ids of a project's batches, listing only as many as the caller needs.

A batch exists if its `batch.json` does. Other objects of a batch that was deleted may
remain for a while, and are not listed.
"""

from collections.abc import Callable, Iterator
from itertools import takewhile

from batchchat.jobs.errors import NotFoundError, ObjectMissingError
from batchchat.jobs.ids import (
    id_created_at,
    is_batch_id,
    not_found_message,
    smallest_id_at,
)
from batchchat.jobs.ledger.keys import Keys
from batchchat.jobs.storage import Storage

_WINDOWS_SECONDS = (86_400.0, 30 * 86_400.0, float("inf"))


class BatchListing:
    """Lists the batches of one project."""

    def __init__(
        self, storage: Storage, keys: Keys, clock: Callable[[], float]
    ) -> None:
        """List those below `keys`."""
        self._storage = storage
        self._keys = keys
        self._clock = clock

    def newest_first(self, before: str | None = None) -> Iterator[str]:
        """Yield the ids, newest first, older than `before`.

        Ids sort by time. So the names of one day are listed first, then those of a
        month, and all others only if the caller reads on.
        """
        newest = self._clock() if before is None else id_created_at(before)
        end = before or ""
        for seconds in _WINDOWS_SECONDS:
            begin = smallest_id_at("batch", newest - seconds)
            found = self._storage.folders(self._keys.batches(), begin, end)
            yield from reversed(self._existing([*found]))
            end = begin

    def with_prefix(self, prefix: str) -> Iterator[str]:
        """Yield the ids that begin with `prefix` and are longer, sorted."""
        end = f"{prefix}g"  # sorts after all hex digits
        found = self._storage.folders(self._keys.batches(), prefix, end)
        return iter(self._existing([*found]))

    def is_stored(self, batch_id: str) -> bool:
        """Return whether a batch exists."""
        try:
            self._storage.size(self._keys.batch(batch_id).batch)
        except ObjectMissingError:
            return False
        return True

    def require(self, batch_id: str) -> None:
        """Raise `NotFoundError` unless a batch exists."""
        if not self.is_stored(batch_id):
            raise no_such_batch(batch_id)

    def deleted(self, after: str = "") -> Iterator[str]:
        """Yield the ids of recently deleted batches in order, those behind `after`."""
        top = self._keys.deletions()
        for entry in self._storage.list(top, f"{top}{after}.json" if after else ""):
            batch_id = entry.key[len(top) :].removesuffix(".json")
            if is_batch_id(batch_id):
                yield batch_id

    def _existing(self, ids: list[str]) -> list[str]:
        """Return the ids, which are sorted, without those of deleted batches."""
        if not ids:
            return []
        deleted = self.deleted(ids[0][:-1])
        recent = {*takewhile(lambda batch_id: batch_id <= ids[-1], deleted)}
        return [one for one in ids if one not in recent or self.is_stored(one)]


def no_such_batch(batch_id: str) -> NotFoundError:
    """Return the error for an id that the project does not have."""
    hint = "list the batches with `batchchat list`"
    return NotFoundError(not_found_message("batch", batch_id), hint=hint)
