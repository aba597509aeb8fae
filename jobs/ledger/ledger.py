"""The ledger: reads the objects of a batch and says where it stands.

Nobody writes a status down. It is a fold over the objects that exist, so it
can't disagree with them, and no process that dies can leave it wrong::

    batch.json ─► validating ─┬─ plan.json, refused ───────────► failed
                              │
                              └─ plan.json ─► in_progress ─┬─ all shards committed
                                                 │         │        ▼
                       cancel.json ◄─────────────┤         │   finalizing
                            ▼                    │         │        │
                        cancelling               │         └────────┤
                            └────────────────────┴─ final.json ◄────┘
                                                        ▼
                                        completed | cancelled | expired

`final.json` wins over everything, `cancel.json` over what is left, then the
plan, then the commits. A record that can't be read is as one that is not there, and
named in `State.damaged`; see `jobs.damage`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import (
    ConflictError,
    CorruptObjectError,
    NewerFormatError,
    NotFoundError,
    ObjectMissingError,
)
from batchchat.jobs.ids import id_created_at, not_found_message, smallest_id_at
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.commit_index import CommitIndex
from batchchat.jobs.ledger.keys import BatchKeys, Keys, shard_of_commit
from batchchat.jobs.ledger.records import Batch, Commit, Counts, File, Outcome, Plan
from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.storage import Storage

_WINDOWS = (86_400.0, 30 * 86_400.0, float("inf"))
_PLANS = 128
_SORTED = 99_999
"""Shards whose numbers sort as their keys do."""


TERMINAL = frozenset({"completed", "failed", "expired", "cancelled"})

CorruptRecords = dict[str, type[records.HasFormat]]
"""Records that can't be read: by key, what each should be."""


def fold(
    *, final: str | None, cancelled: bool, plan: str | None, all_committed: bool
) -> str:
    """Return the status; `plan` is None, `failed` or `made`."""
    if final is not None:
        return final
    if plan == "failed":
        return "failed"
    if cancelled:
        return "cancelling"
    if plan is None:
        return "validating"
    return "finalizing" if all_committed else "in_progress"


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a batch stands, as its objects say."""

    batch: Batch
    plan: Plan | None = None
    cancel: records.Cancel | None = None
    commits: CommitIndex = field(default_factory=CommitIndex)
    final: Outcome | None = None
    delivery_receipt: records.DeliveryReceipt | None = None
    delivery_attempt: records.DeliveryAttempt | None = None
    running: dict[int, tuple[Counts, Usage]] = field(default_factory=dict)
    """What is done of shards without a commit, as far as there are news of them."""

    corrupt: CorruptRecords = field(default_factory=dict)

    @property
    def cancelled_at(self) -> int | None:
        """When somebody wished it to stop, in Unix seconds."""
        return self.cancel.created_at if self.cancel else None

    @property
    def status(self) -> str:
        """The status, in OpenAI's words."""
        plan = "failed" if self.plan and self.plan.failed() else "made"
        return fold(
            final=self.final.status if self.final else None,
            cancelled=self.cancelled_at is not None,
            plan=plan if self.plan else None,
            all_committed=bool(self.plan) and not self.pending(),
        )

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in TERMINAL

    @property
    def is_delivered(self) -> bool:
        """Whether nothing of it is still to be written to a destination."""
        has_results = self.final is not None
        wanted = self.batch.destination is not None and has_results
        return self.delivery_receipt is not None or not wanted

    def require_plan(self) -> Plan:
        """Return the plan. Raises `ConflictError` where there is none yet."""
        if Plan in self.corrupt.values():
            raise CorruptObjectError(f"the plan of `{self.batch.id}` is damaged")
        if self.plan is None:
            raise ConflictError(f"`{self.batch.id}` has not been planned yet")
        return self.plan

    def pending(self) -> list[int]:
        """Return the shards that have no commit."""
        if self.final is not None or self.plan is None:
            return []
        shards = self.plan.shards[self.commits.contiguous_until :]
        return [s.index for s in shards if s.index not in self.commits]

    def counts(self) -> Counts:
        """Return how many requests are done, as far as that is known."""
        if self.final:
            return self.final.counts
        done = sum((counts for counts, _ in self._news()), self.commits.counts)
        total = self.plan.requests if self.plan else 0
        return Counts(total, done.completed, done.failed)

    def usage(self) -> Usage:
        """Return the tokens used, as far as that is known."""
        if self.final:
            return self.final.usage
        return sum((usage for _, usage in self._news()), self.commits.usage)

    def cost(self) -> Decimal:
        """Return what the tokens cost, as far as that is known."""
        if self.final:
            return self.final.estimated_cost
        model = self.plan.model if self.plan else None
        price = model.price if model else None
        return price.cost(self.usage()) if price else Decimal(0)

    def engine_seconds(self) -> float:
        """Return how long engines worked on it, as far as that is committed."""
        if self.final:
            return self.final.engine_seconds
        return self.commits.engine_seconds

    def engine_cost(self) -> Decimal | None:
        """Return what the GPUs cost for that, None where no price is set."""
        model = self.plan.model if self.plan else None
        return model.engine_cost(self.engine_seconds()) if model else None

    def _news(self) -> list[tuple[Counts, Usage]]:
        return [n for shard, n in self.running.items() if shard not in self.commits]

    def last_commit_at(self) -> int | None:
        """Return when the last shard was committed, None while some are not."""
        if self.plan is None or not self.commits or self.pending():
            return None
        return self.commits.last_commit_at


class Ledger:
    """Reads and writes the records of one project.

    Records never change, so what they say is remembered, and commits added up.
    """

    def __init__(
        self, storage: Storage, project: str, clock: Callable[[], float] = time.time
    ) -> None:
        """Use the objects of `project` in `storage`."""
        self.storage = storage
        self.keys = Keys(project)
        self.project = project
        self.clock = clock
        self._batches: LruCache[str, Batch] = LruCache(1_000)
        self._plans: LruCache[str, Plan] = LruCache(_PLANS)
        self._commits: LruCache[str, Commit] = LruCache(1_000)
        self._committed: LruCache[str, CommitIndex] = LruCache(1_000)
        self._listed: LruCache[str, bool] = LruCache(1_000)

    def now(self) -> int:
        """Return the time in whole Unix seconds."""
        return int(self.clock())

    def state(self, batch_id: str) -> State:
        """Return where the batch stands.

        Raises:
            NotFoundError: there is no such batch in this project.

        """
        keys = self.keys.batch(batch_id)
        corrupt: CorruptRecords = {}
        batch = self.batch(batch_id)
        final = self._read_or_mark_corrupt(corrupt, Outcome, keys.final)
        state = State(
            batch=batch,
            plan=self._read_or_mark_corrupt(corrupt, Plan, keys.plan, self._plans),
            cancel=self.cancel(batch_id),
            commits=CommitIndex() if final else self._read_commits(keys, corrupt),
            final=final,
            corrupt=corrupt,
        )
        return state if state.is_delivered else self._with_delivery(state)

    def batch(self, batch_id: str) -> Batch:
        """Return what was asked for. Raises `NotFoundError`."""
        try:
            batch = self._read_immutable(
                Batch, self.keys.batch(batch_id).batch, self._batches
            )
        except CorruptObjectError as error:
            error.hint = "nobody knows what was asked: submit it again"
            raise
        if batch is None:
            hint = "list the batches with `batchchat list`"
            raise NotFoundError(not_found_message("batch", batch_id), hint=hint)
        return batch

    def plan(self, batch_id: str) -> Plan | None:
        """Return the plan of a batch, None where there is none yet."""
        return self._read_immutable(Plan, self.keys.batch(batch_id).plan, self._plans)

    def outcome(self, batch_id: str) -> Outcome | None:
        """Return how a batch ended, None where it has not."""
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
        """Yield the ids of the project's batches, newest first, older than `before`.

        Ids sort by time, so of many batches only the names of a day are listed, then
        of a month, and of all only if somebody goes on reading.
        """
        newest = self.clock() if before is None else id_created_at(before)
        end = before or ""
        for seconds in _WINDOWS:
            begin = smallest_id_at("batch", newest - seconds)
            found = list(self.storage.folders(self.keys.batches(), begin, end))
            yield from reversed(found)
            end = begin

    def file(self, file_id: str) -> File:
        """Return what a file is. Raises `NotFoundError`."""
        file = self._read_optional(File, self.keys.file(file_id))
        if file is None:
            raise NotFoundError(not_found_message("file", file_id))
        return file

    def commit(self, keys: BatchKeys, shard: int) -> Commit | None:
        """Return the commit of a shard, None where there is none yet."""
        return self._read_immutable(Commit, keys.commit(shard), self._commits)

    def is_committed(self, keys: BatchKeys, shard: int) -> bool:
        """Return whether the shard has a commit now.

        Unlike `commit`, this asks the storage each time: a commit that was read
        before may have been corrupt and moved away since.
        """
        return self._read_optional(Commit, keys.commit(shard)) is not None

    def cancel(self, batch_id: str) -> records.Cancel | None:
        """Return the wish that the batch stop, None where there is none.

        One that can't be read is a wish all the same.
        """
        try:
            return self._read_optional(records.Cancel, self.keys.batch(batch_id).cancel)
        except CorruptObjectError:
            return records.Cancel(self.batch(batch_id).created_at)

    def invalidate_caches(self) -> None:
        """See anew what is there: a corrupt record may be gone, or another by now."""
        self._plans.clear()
        self._listed.clear()

    def _with_delivery(self, state: State) -> State:
        keys, corrupt = self.keys.batch(state.batch.id), state.corrupt
        delivered = self._read_or_mark_corrupt(
            corrupt, records.DeliveryReceipt, keys.delivery_receipt
        )
        if delivered is not None:
            return replace(state, delivery_receipt=delivered)
        trouble = self._read_or_mark_corrupt(
            corrupt, records.DeliveryAttempt, keys.delivery_attempt
        )
        return replace(state, delivery_attempt=trouble)

    def _read_commits(self, keys: BatchKeys, corrupt: CorruptRecords) -> CommitIndex:
        """Add up the commits that are there; those that are known are not read."""
        known = self._committed.get(keys.top) or CommitIndex()
        found = self._list_commits(keys, known)
        if not known.is_subset_of(found):  # one that was added is gone
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

        Those up to the first that is missing are listed once, and when they are looked
        at again.
        """
        is_listed = self._listed.get(keys.top) and 0 < known.contiguous_until <= _SORTED
        after = keys.commit(known.contiguous_until - 1) if is_listed else ""
        entries = self.storage.list(keys.commits, after)
        found = {shard_of_commit(entry.key) for entry in entries}
        self._listed.put(keys.top, value=True)
        return found.union(range(known.contiguous_until)) if after else found

    def _read_or_mark_corrupt(
        self,
        corrupt: CorruptRecords,
        kind: type[records.R],
        key: str,
        memo: LruCache[str, records.R] | None = None,
    ) -> records.R | None:
        """Return a record, None where there is none; note it if it can't be read."""
        try:
            return (
                self._read_immutable(kind, key, memo)
                if memo
                else self._read_optional(kind, key)
            )
        except CorruptObjectError:
            corrupt[key] = kind
            return None

    def _read_immutable(
        self, kind: type[records.R], key: str, memo: LruCache[str, records.R]
    ) -> records.R | None:
        known = memo.get(key)
        if known is None:
            known = self._read_optional(kind, key)
            if known is not None:
                memo.put(key, known)
        return known

    def _read_optional(self, kind: type[records.R], key: str) -> records.R | None:
        try:
            return self._read(kind, key)
        except ObjectMissingError:
            return None

    def _read(self, kind: type[records.R], key: str) -> records.R:
        try:
            return records.decode(kind, self.storage.get(key), key)
        except CorruptObjectError:  # a cache may have kept what was replaced since
            return records.decode(kind, b"".join(self.storage.stream(key)), key)
