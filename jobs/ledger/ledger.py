"""The ledger: reads the records of one project's batches and files.

Most records never change once they are written, so they are cached. What a batch's
records add up to is its `State`; see `state.py`.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile

from batchchat.jobs.errors import (
    CorruptObjectError,
    NewerFormatError,
    NotFoundError,
    ObjectMissingError,
)
from batchchat.jobs.ids import FILE_HINT, not_found_message
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.batch_listing import BatchListing, no_such_batch
from batchchat.jobs.ledger.commit_index import CommitIndex
from batchchat.jobs.ledger.keys import BatchKeys, Keys, shards_of_commits
from batchchat.jobs.ledger.record_caches import RecordCaches
from batchchat.jobs.ledger.records import Batch, Commit, File, Outcome, Plan
from batchchat.jobs.ledger.state import CorruptRecords, State
from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.storage import Storage

_HEAD_BYTES = 128
_CREATED_AT = re.compile(rb'"created_at":(\d+)')
_SMALL_BATCH_SHARDS = 32
"""A batch of up to this many shards has so few objects that one request lists them."""

_MAX_SORTED_SHARD = 99_999
"""Keys sort like shard numbers up to this one."""


class Ledger:
    """Reads the records of one project; thread-safe.

    Commits are added up as they are found, so that a state needs only the new ones.
    """

    def __init__(
        self,
        storage: Storage,
        project: str,
        clock: Callable[[], float] = time.time,
        caches: RecordCaches | None = None,
    ) -> None:
        """Use the objects of `project` in `storage`, and perhaps shared `caches`."""
        self.storage = storage
        self.keys = Keys(project)
        self.project = project
        self.clock = clock
        self._caches = caches = caches or RecordCaches()
        self._batches = caches.batches
        self._plans = caches.plans
        self._commits = caches.commits
        self._committed = caches.committed
        self._listed = caches.listed
        self.listing = BatchListing(storage, self.keys, clock)

    def through(self, storage: Storage) -> "Ledger":
        """Return this ledger with another way to the same stored objects."""
        return Ledger(storage, self.project, self.clock, self._caches)

    def now(self) -> int:
        """Return the time in whole Unix seconds."""
        return int(self.clock())

    def state(
        self, batch_id: str, *, by_listing: bool = False, with_extension: bool = False
    ) -> State:
        """Return the state of a batch.

        With `by_listing`, the records of a small batch are listed, and only those are
        read that exist and are not cached: usually a single request. Some stores list
        an object only seconds after it was written. With `with_extension`, a later
        deadline is read even if the original one is not over.

        Raises:
            NotFoundError: the project has no such batch.
            CorruptObjectError: `batch.json` is corrupt.
            NewerFormatError: a newer version of batchchat wrote one of the records.

        """
        keys = self.keys.batch(batch_id)
        corrupt: CorruptRecords = {}
        batch = self.batch(batch_id)
        listed = self._list_records(keys) if by_listing else None

        def read(
            kind: type[records.R],
            key: str,
            cache: LruCache[str, records.R] | None = None,
        ) -> records.R | None:
            if listed is not None and key not in listed:
                return None
            return self._read_or_mark_corrupt(corrupt, kind, key, cache)

        final = read(Outcome, keys.final)
        if final is None and (listed is None or keys.batch not in listed):
            self.listing.require(batch_id)  # or it would be run again
        has_cancel = listed is None or keys.cancel in listed
        state = State(
            batch=batch,
            plan=read(Plan, keys.plan, self._plans),
            cancel=self.cancel(batch_id) if has_cancel else None,
            extension=None
            if final
            else self._read_extension(batch, is_due=with_extension),
            commits=CommitIndex()
            if final
            else self._read_commits(keys, corrupt, listed),
            final=final,
            corrupt=corrupt,
        )
        return state if state.is_delivered else self._with_delivery(state)

    def batch(self, batch_id: str) -> Batch:
        """Return the batch as it was created. Raises `NotFoundError`."""
        try:
            batch = self._read_immutable(
                Batch, self.keys.batch(batch_id).batch, self._batches
            )
        except CorruptObjectError as error:
            error.hint = "the batch can't be repaired: submit its input again"
            raise
        if batch is None:
            raise no_such_batch(batch_id)
        return batch

    def plan(self, batch_id: str) -> Plan | None:
        """Return the plan of a batch, None if it has none yet."""
        return self._read_immutable(Plan, self.keys.batch(batch_id).plan, self._plans)

    def current_plan(self, batch_id: str) -> Plan | None:
        """Return the plan as it is stored now; None if it is missing or corrupt.

        A corrupt plan is made again, perhaps with other shards, and a long-lived
        process must not run the shards of the old one.
        """
        key = self.keys.batch(batch_id).plan
        try:
            plan = self.plan(batch_id)
            if plan is None or self._is_stored(plan, key):
                return plan
            data = b"".join(self.storage.stream(key))  # past the cache of a storage
            plan = records.decode(Plan, data, key)
        except (CorruptObjectError, ObjectMissingError):
            return None
        self._plans.put(key, plan)
        return plan

    def _is_stored(self, plan: Plan, key: str) -> bool:
        """Return whether `plan` is the stored one, of which only the head is read."""
        created_at = _CREATED_AT.search(self.storage.read(key, 0, _HEAD_BYTES))
        return created_at is not None and int(created_at[1]) == plan.created_at

    def cache_plan(self, batch_id: str, plan: Plan) -> None:
        """Remember a plan that this process has written."""
        self._plans.put(self.keys.batch(batch_id).plan, plan)

    def outcome(self, batch_id: str) -> Outcome | None:
        """Return how a batch ended, None if it has not."""
        return self._read_optional(Outcome, self.keys.batch(batch_id).final)

    def batches(self) -> Iterator[Batch]:
        """Yield the project's readable batches, newest first."""
        for batch_id in self.batch_ids():
            key = self.keys.batch(batch_id).batch
            with suppress(NewerFormatError):
                batch = self._read_or_mark_corrupt({}, Batch, key, self._batches)
                if batch is not None:
                    yield batch

    def batch_ids(self, before: str | None = None) -> Iterator[str]:
        """Yield the ids of the project's batches, newest first, older than `before`."""
        return self.listing.newest_first(before)

    def batch_ids_with(self, prefix: str) -> Iterator[str]:
        """Yield the ids of batches that begin with `prefix` and are longer, sorted."""
        return self.listing.with_prefix(prefix)

    def file(self, file_id: str) -> File:
        """Return the record of a file. Raises `NotFoundError`."""
        file = self._read_optional(File, self.keys.file(file_id))
        if file is None:
            raise NotFoundError(not_found_message("file", file_id), hint=FILE_HINT)
        return file

    def commit(self, keys: BatchKeys, shard: int) -> Commit | None:
        """Return the commit of a shard, None if it has none yet."""
        return self._read_immutable(Commit, keys.commit(shard), self._commits)

    def is_committed(self, keys: BatchKeys, shard: int) -> bool:
        """Return whether the shard has a commit now.

        Unlike `commit`, this asks the storage each time: a commit that was read
        before may have been corrupt and moved away since.
        """
        return self._read_optional(Commit, keys.commit(shard)) is not None

    def cancel(self, batch_id: str) -> records.Cancel | None:
        """Return the cancellation request of a batch, None if there is none.

        A corrupt request counts: that the object exists says enough.
        """
        try:
            return self._read_optional(records.Cancel, self.keys.batch(batch_id).cancel)
        except CorruptObjectError:
            return records.Cancel(self.batch(batch_id).created_at)

    def extension(self, batch_id: str) -> records.Extension | None:
        """Return the record that replaces the deadline; None if there is none."""
        with suppress(CorruptObjectError):
            key = self.keys.batch(batch_id).extension
            return self._read_optional(records.Extension, key)
        return None

    def _read_extension(
        self, batch: Batch, *, is_due: bool
    ) -> records.Extension | None:
        """Return the extension if it `is_due`, or if the original deadline is over."""
        if batch.expires_at is not None and self.now() >= batch.expires_at:
            is_due = True
        return self.extension(batch.id) if is_due else None

    def forget(self, batch_id: str) -> None:
        """Forget the records of a batch, which was deleted."""
        self._caches.forget(self.keys.batch(batch_id))

    def invalidate_caches(self) -> None:
        """Forget what a repair may have replaced or removed since it was read."""
        self._plans.clear()
        self._listed.clear()

    def _with_delivery(self, state: State) -> State:
        keys, corrupt = self.keys.batch(state.batch.id), state.corrupt
        receipt = self._read_or_mark_corrupt(
            corrupt, records.DeliveryReceipt, keys.delivery_receipt
        )
        if receipt is not None:
            return replace(state, delivery_receipt=receipt)
        attempt = self._read_or_mark_corrupt(
            corrupt, records.DeliveryAttempt, keys.delivery_attempt
        )
        return replace(state, delivery_attempt=attempt)

    def _list_records(self, keys: BatchKeys) -> set[str] | None:
        """Return the keys of a small batch's records; None if it is not small.

        Keys are listed in order, and those of checkpoints come last.
        """
        plan = self._plans.get(keys.plan)
        if plan is not None and len(plan.shards) > _SMALL_BATCH_SHARDS:
            return None
        entries = self.storage.list(f"{keys.top}/")
        found = (entry.key for entry in entries)
        return set(takewhile(lambda key: not key.startswith(keys.shards), found))

    def _read_commits(
        self, keys: BatchKeys, corrupt: CorruptRecords, listed: set[str] | None
    ) -> CommitIndex:
        """Return the sum of all commits, of which only new ones are read."""
        known = self._committed.get(keys.top) or CommitIndex()
        if listed is None:
            found = self._list_commits(keys, known)
        else:
            found = shards_of_commits(
                key for key in listed if key.startswith(keys.commits)
            )
        if not known.is_subset_of(found):  # a known commit is gone
            known = CommitIndex()
        read = (
            self._read_or_mark_corrupt(
                corrupt, Commit, keys.commit(shard), self._commits
            )
            for shard in sorted(found)
            if shard not in known
        )
        known = known.with_commits([commit for commit in read if commit is not None])
        self._committed.put(keys.top, known)
        return known

    def _list_commits(self, keys: BatchKeys, known: CommitIndex) -> set[int]:
        """Return the shards that have a commit.

        The shards before the first one without a commit are listed only once, unless
        the caches are invalidated.
        """
        is_listed = (
            self._listed.get(keys.top)
            and 0 < known.contiguous_until <= _MAX_SORTED_SHARD
        )
        after = keys.commit(known.contiguous_until - 1) if is_listed else ""
        entries = self.storage.list(keys.commits, after)
        found = shards_of_commits(entry.key for entry in entries)
        self._listed.put(keys.top, value=True)
        return found.union(range(known.contiguous_until)) if after else found

    def _read_or_mark_corrupt(
        self,
        corrupt: CorruptRecords,
        kind: type[records.R],
        key: str,
        cache: LruCache[str, records.R] | None = None,
    ) -> records.R | None:
        """Return a record, None if it is missing or corrupt, which is noted."""
        try:
            return (
                self._read_immutable(kind, key, cache)
                if cache
                else self._read_optional(kind, key)
            )
        except CorruptObjectError:
            corrupt[key] = kind
            return None

    def _read_immutable(
        self, kind: type[records.R], key: str, cache: LruCache[str, records.R]
    ) -> records.R | None:
        known = cache.get(key)
        if known is None:
            known = self._read_optional(kind, key)
            if known is not None:
                cache.put(key, known)
        return known

    def _read_optional(self, kind: type[records.R], key: str) -> records.R | None:
        try:
            return self._read(kind, key)
        except ObjectMissingError:
            return None

    def _read(self, kind: type[records.R], key: str) -> records.R:
        try:
            return records.decode(kind, self.storage.get(key), key)
        except CorruptObjectError:  # a cache may hold what was replaced since
            return records.decode(kind, b"".join(self.storage.stream(key)), key)
