"""The files of a project, as the API shows them.

A file exists once its `file.json` is written, until its `deleted.json` is written or
it expires. Its content is removed after that, but not while an unfinished batch reads
it.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from batchchat.jobs.errors import (
    ConflictError,
    NewerFormatError,
    NotFoundError,
    ObjectMissingError,
)
from batchchat.jobs.files.listing import FileListing
from batchchat.jobs.ids import FILE_HINT, id_created_at, not_found_message
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import File
from batchchat.jobs.results.finalize import publish_results

_READ_CONCURRENCY = 16

_REMOVAL_TIMEOUT_SECONDS = 600
"""Age at which an unfinished removal was interrupted."""

_ORPHAN_AGE_SECONDS = 86_400
"""Age at which content without metadata is an orphan."""

_FILE_OBJECTS = {"content", "file.json", "deleted.json"}


class DeletionMark(records.Record, frozen=True):
    """`deleted.json`: the file is deleted."""

    deleted_at: int = 0


class Page(NamedTuple):
    """A page of files, and whether there are more."""

    files: list[File]
    has_more: bool


class Files:
    """The files of one project."""

    def __init__(self, ledger: Ledger) -> None:
        """Use the project of `ledger`."""
        self._ledger = ledger
        self._storage = ledger.storage
        self._keys = ledger.keys
        self._listing = FileListing(ledger)

    def get(self, file_id: str) -> File:
        """Return an existing file. Raises `NotFoundError`."""
        file = self._ledger.file(file_id)
        if (
            self._is_expired(file)
            or self._exists(self._keys.deleted(file_id))
            or not self._exists(self._keys.content(file_id))  # a cached record
        ):
            raise NotFoundError(not_found_message("file", file_id), hint=FILE_HINT)
        return file

    def page(
        self, *, after: str | None, limit: int, newest_first: bool, purpose: str | None
    ) -> Page:
        """Return the next files after the one with the id `after`, by creation time."""
        listing = self._listing
        ids = (listing.newest_first if newest_first else listing.oldest_first)(after)
        with ThreadPoolExecutor(_READ_CONCURRENCY) as pool:
            files = (
                file
                for some in iter(lambda: list(islice(ids, _READ_CONCURRENCY)), [])
                for file in pool.map(self._read, some)
                if file and (purpose is None or file.purpose == purpose)
            )
            found = list(islice(files, limit + 1))
        return Page(found[:limit], len(found) > limit)

    def use(self, file_id: str, batch_id: str) -> File:
        """Mark the file as read by a batch, and return it.

        Raises:
            NotFoundError: the file does not exist, or was deleted at the same time.

        """
        self.get(file_id)
        mark = self._keys.uses(file_id) + batch_id
        self._storage.put(mark, records.MARKER)
        try:
            return self.get(file_id)
        except NotFoundError:
            self._storage.delete(mark)
            raise

    def delete(self, file_id: str) -> None:
        """Delete a file and its content.

        Raises:
            NotFoundError: there is no such file.
            ConflictError: an unfinished batch reads it.

        """
        self.get(file_id)
        self._remove(file_id)

    def sweep(self) -> None:
        """Remove expired files, and what killed processes have left.

        An interrupted removal is finished, or undone if a batch reads the file. Content
        that never got its metadata is removed after a day.
        """
        for file_id in list(self._listing.oldest_first()):
            file = self._read(file_id, include_expired=True)
            if file is not None and self._is_expired(file):
                try:
                    self._remove(file_id)
                except ConflictError:
                    continue
        self._finish_removals()
        self._remove_orphans()

    def _finish_removals(self) -> None:
        for file_id, names in list(self._listing.stored()):
            if not {"deleted.json", "content"} <= names:
                continue
            marked_at = self._marked_at(file_id)
            if (
                marked_at is not None
                and self._ledger.now() - marked_at > _REMOVAL_TIMEOUT_SECONDS
            ):
                with suppress(ConflictError):
                    self._remove(file_id)

    def _remove_orphans(self) -> None:
        """Delete content without a file record, or publish it if it is a result.

        A batch's final record names its files before they are published. On a store
        without atomic creates, it may name the files of another finalization.
        """
        orphans = {
            file_id
            for file_id, names in self._listing.stored()
            if names & _FILE_OBJECTS == {"content"}
            and self._ledger.now() - id_created_at(file_id) > _ORPHAN_AGE_SECONDS
        }
        results = self._results() if orphans else {}
        for file_id in orphans:
            if file_id in results:
                publish_results(self._ledger, self._ledger.state(results[file_id]))
            else:
                self._storage.delete(self._keys.content(file_id))

    def _results(self) -> dict[str, str]:
        """Return the result files of all batches, each with the id of its batch."""
        found: dict[str, str] = {}
        for batch_id in self._storage.folders(self._keys.batches()):
            final = self._ledger.outcome(batch_id)
            if final is not None:
                found |= dict.fromkeys(final.file_ids, batch_id)
        return found

    def _marked_at(self, file_id: str) -> int | None:
        """Return when the file was marked as deleted, None if it is not marked."""
        key = self._keys.deleted(file_id)
        try:
            return records.decode(DeletionMark, self._storage.get(key), key).deleted_at
        except (ObjectMissingError, NewerFormatError):
            return None

    def _remove(self, file_id: str) -> None:
        """Mark the file, then look for readers: a new reader sees the mark."""
        mark = self._keys.deleted(file_id)
        self._storage.create(mark, records.encode(DeletionMark(self._ledger.now())))
        reader = next(self._readers(file_id), None)
        if reader is not None:
            self._storage.delete(mark)
            raise ConflictError(
                f"`{file_id}` is read by the unfinished batch `{reader}`:"
                " cancel it or wait until it has ended",
                hint=f"cancel it with `batchchat cancel {reader}`",
            )
        self._delete_request_lines(file_id)
        self._storage.delete(self._keys.content(file_id))

    def _delete_request_lines(self, file_id: str) -> None:
        """Delete the requests that ended batches have made of the file's rows.

        Batches that reuse the answers in the file have requests of another input.
        """
        for entry in self._storage.list(self._keys.uses(file_id)):
            batch_id = entry.key.rpartition("/")[2]
            with suppress(NotFoundError):  # its creation was interrupted
                if self._ledger.batch(batch_id).input_file_id == file_id:
                    self._storage.delete(self._keys.batch(batch_id).requests)

    def _readers(self, file_id: str) -> Iterator[str]:
        for entry in self._storage.list(self._keys.uses(file_id)):
            batch_id = entry.key.rpartition("/")[2]
            try:
                if not self._ledger.state(batch_id).is_terminal:
                    yield batch_id
            except NotFoundError:  # its creation was interrupted
                continue
            except NewerFormatError:  # whether it has ended is unknown
                yield batch_id

    def _read(self, file_id: str, *, include_expired: bool = False) -> File | None:
        try:
            file = self._ledger.file(file_id)
        except (NotFoundError, NewerFormatError):
            return None
        return None if self._is_expired(file) and not include_expired else file

    def _is_expired(self, file: File) -> bool:
        return file.expires_at is not None and file.expires_at <= self._ledger.now()

    def _exists(self, key: str) -> bool:
        try:
            self._storage.size(key)
        except ObjectMissingError:
            return False
        return True
