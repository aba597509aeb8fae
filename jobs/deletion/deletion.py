"""Deletes one batch, so that it may be killed anywhere and repeated by any process.

::

    create deletions/<batch>.json   names everything that belongs to the batch
    look for batches that read it   if there is one, the record is removed again
    delete batch.json               from here on the batch does not exist
    delete all else                 if killed, a process that finds the record continues
    set finished_at in the record
    …                               two days later, a sweep deletes what a process
                                    wrote that did not know of this, and the record

Until `batch.json` is deleted, the batch is complete. A process that has cached it does
not run the batch again, since it finds no plan.
"""

import logging
from dataclasses import dataclass

import msgspec

from batchchat.jobs.deletion.batch_files import (
    folder_of,
    is_shared,
    remove_all,
    remove_file,
)
from batchchat.jobs.deletion.conditions import check_ended, check_unread
from batchchat.jobs.deletion.sources import remove_reader, sources_of
from batchchat.jobs.errors import (
    ConflictError,
    CorruptObjectError,
    NewerFormatError,
)
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.batch_listing import no_such_batch
from batchchat.jobs.ledger.deletions import Deletion, read_deletion
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.webhooks.outbox import Outbox, PendingEvent

log = logging.getLogger(__name__)

_RECORD_SECONDS = 2 * 86_400
"""How long a record is kept: longer than clients repeat requests, and than a process
that was suspended writes results."""


@dataclass(frozen=True)
class Removal:
    """What a deletion removes: the number of stored objects, and their bytes.

    `keeps_input` is whether the input file stays, because another batch reads it or
    because that was asked.
    """

    batch_id: str
    objects: int
    bytes: int
    keeps_input: bool


class Deleter:
    """Deletes ended batches of one project."""

    def __init__(self, ledger: Ledger) -> None:
        """Delete batches of `ledger`."""
        self._ledger = ledger
        self._storage = ledger.storage

    def preview(self, batch_id: str, *, keep_input: bool = False) -> Removal:
        """Return what `delete` would remove; it raises the same errors."""
        record = read_deletion(self._ledger, batch_id)
        if record is None:
            state = self._ledger.state(batch_id)
            check_ended(state, self._ledger.now())
            check_unread(self._ledger, batch_id)
            record = self._record_of(state, keep_input=keep_input)
        elif record.finished_at is not None:
            raise no_such_batch(batch_id)
        return self._measure(batch_id, record)

    def delete(self, batch_id: str, *, keep_input: bool = False) -> Removal:
        """Delete a batch, its results and, if no other batch reads it, its input.

        Continues a deletion that was interrupted. With `keep_input` the input stays.

        Raises:
            NotFoundError: there is no such batch.
            ConflictError: it has not ended, or another batch reads its results.

        """
        record = read_deletion(self._ledger, batch_id)
        if record is None:
            record = self._begin(batch_id, keep_input=keep_input)
        elif record.finished_at is not None:
            raise no_such_batch(batch_id)
        removal = self._measure(batch_id, record)
        self._finish(batch_id, record)
        return removal

    def sweep(self) -> None:
        """Continue interrupted deletions, and remove old records of finished ones."""
        for batch_id in list(self._ledger.listing.deleted()):
            try:
                self._continue(batch_id)
            except (ConflictError, CorruptObjectError, NewerFormatError) as error:
                log.warning("%s is not deleted: %s", batch_id, error.message)

    def _continue(self, batch_id: str) -> None:
        """Do what is left of one deletion."""
        record = read_deletion(self._ledger, batch_id)
        if record is None:
            return
        if record.finished_at is None:
            self._finish(batch_id, record)
        elif self._ledger.now() - record.finished_at > _RECORD_SECONDS:
            self._remove_record(batch_id, record)

    def _begin(self, batch_id: str, *, keep_input: bool) -> Deletion:
        state = self._ledger.state(batch_id)
        check_ended(state, self._ledger.now())
        check_unread(self._ledger, batch_id)
        record = self._record_of(state, keep_input=keep_input)
        key = self._ledger.keys.deletion(batch_id)
        self._storage.create(key, records.encode(record))
        return read_deletion(self._ledger, batch_id) or record

    def _record_of(self, state: State, *, keep_input: bool) -> Deletion:
        final = state.final
        return Deletion(
            created_at=self._ledger.now(),
            input_file_id=state.batch.input_file_id,
            keeps_input=keep_input,
            file_ids=tuple(final.file_ids) if final else (),
            source_ids=sources_of(self._ledger, state.batch),
            estimated_cost=final.estimated_cost if final else None,
        )

    def _finish(self, batch_id: str, record: Deletion) -> None:
        """Delete what is left. Raises `ConflictError` if another batch reads it."""
        key = self._ledger.keys.deletion(batch_id)
        if self._ledger.listing.is_stored(batch_id):
            try:
                check_unread(self._ledger, batch_id)
            except ConflictError:
                self._storage.delete(key)
                raise
            self._check_not_withdrawn(batch_id)
        self._remove(batch_id, record)
        finished = msgspec.structs.replace(record, finished_at=self._ledger.now())
        self._storage.put(key, records.encode(finished))

    def _check_not_withdrawn(self, batch_id: str) -> None:
        """Check that no other process has found a reader, and removed the record.

        Since then, the reader counts on the batch.
        """
        if read_deletion(self._ledger, batch_id) is None:
            raise ConflictError(
                f"another batch has begun to read the results of `{batch_id}`",
                hint=f"delete it later with `batchchat delete {batch_id}`",
            )

    def _remove(self, batch_id: str, record: Deletion) -> None:
        ledger, project = self._ledger, self._ledger.project
        keys = ledger.keys.batch(batch_id)
        self._storage.delete(keys.batch)
        ledger.forget(batch_id)
        ActiveIndex(self._storage).remove(project, batch_id)
        self._storage.delete(keys.plan)
        Outbox(self._storage).remove(PendingEvent(project, batch_id))
        remove_all(ledger, f"{keys.top}/")
        for source_id in record.source_ids:
            remove_reader(ledger, source_id, batch_id)
        for file_id in record.file_ids:
            remove_file(ledger, file_id, batch_id)
        if record.input_file_id is not None:
            if record.keeps_input:
                mark = f"{ledger.keys.uses(record.input_file_id)}{batch_id}"
                self._storage.delete(mark)
            else:
                remove_file(ledger, record.input_file_id, batch_id)

    def _remove_record(self, batch_id: str, record: Deletion) -> None:
        """Remove what was written after the deletion, and the record."""
        try:
            late = self._ledger.outcome(batch_id)
        except (CorruptObjectError, NewerFormatError):
            late = None
        found = {*record.file_ids, *(late.file_ids if late else ())}
        both = msgspec.structs.replace(record, file_ids=tuple(sorted(found)))
        self._remove(batch_id, both)
        self._storage.delete(self._ledger.keys.deletion(batch_id))

    def _measure(self, batch_id: str, record: Deletion) -> Removal:
        """Return how much is stored of what `_remove` removes."""
        ledger = self._ledger
        file_ids = [
            file_id
            for file_id in record.file_ids
            if not is_shared(ledger, file_id, batch_id)
        ]
        input_id = record.input_file_id
        keeps_input = (
            record.keeps_input
            or input_id is None
            or is_shared(ledger, input_id, batch_id)
        )
        if input_id is not None and not keeps_input:
            file_ids.append(input_id)
        prefixes = [f"{ledger.keys.batch(batch_id).top}/"]
        prefixes += [folder_of(ledger, file_id) for file_id in file_ids]
        objects = size = 0
        for prefix in prefixes:
            for entry in self._storage.list(prefix):
                objects += 1
                size += entry.size
        return Removal(batch_id, objects, size, keeps_input)
