"""The state of a batch: its status, counts and cost, derived from its records.

No process writes a status. It follows from the objects that exist, so it can't
contradict them, and a process that dies can't leave it wrong::

    batch.json ─► validating ─┬─ plan.json, rejected ──────────► failed
                              │
                              └─ plan.json ─► in_progress ─┬─ all shards committed
                                                 │         │        ▼
                       cancel.json ◄─────────────┤         │   finalizing
                            ▼                    │         │        │
                        cancelling               │         └────────┤
                            └────────────────────┴─ final.json ◄────┘
                                                        ▼
                                        completed | cancelled | expired

`final.json` takes precedence over everything else, then a rejected plan, then
`cancel.json`, then the commits. A corrupt record counts as missing and is named in
`State.corrupt`; see `repair.py`.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import ConflictError, CorruptObjectError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.commit_index import CommitIndex
from batchchat.jobs.ledger.records import Batch, Counts, Outcome, Plan

STATUSES = (
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
)
"""The statuses of a batch, in OpenAI's order."""

TERMINAL = frozenset({"completed", "failed", "expired", "cancelled"})

CorruptRecords = dict[str, type[records.HasFormat]]
"""Corrupt records: by key, the kind that each should be."""


def fold(
    *, final: str | None, cancelled: bool, plan: str | None, all_committed: bool
) -> str:
    """Return the status; `final` is the recorded one, `plan` `failed` or `made`."""
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
    """What the records of a batch say about it."""

    batch: Batch
    plan: Plan | None = None
    cancel: records.Cancel | None = None
    extension: records.Extension | None = None
    commits: CommitIndex = field(default_factory=CommitIndex)
    final: Outcome | None = None
    delivery_receipt: records.DeliveryReceipt | None = None
    delivery_attempt: records.DeliveryAttempt | None = None
    running: dict[int, tuple[Counts, Usage]] = field(default_factory=dict)
    """What running shards report, by shard: their requests and tokens so far."""

    corrupt: CorruptRecords = field(default_factory=dict)

    @property
    def cancelled_at(self) -> int | None:
        """When its cancellation was requested, in Unix seconds."""
        return self.cancel.created_at if self.cancel else None

    @property
    def expires_at(self) -> int | None:
        """When it expires, in Unix seconds; None means never."""
        return self.extension.expires_at if self.extension else self.batch.expires_at

    def has_expired(self, now: int) -> bool:
        """Return whether its deadline has passed at `now`, in Unix seconds."""
        return self.expires_at is not None and now >= self.expires_at

    @property
    def status(self) -> str:
        """The status, one of OpenAI's."""
        plan = "failed" if self.plan and self.plan.failed() else "made"
        return fold(
            final=self.final.status if self.final else None,
            cancelled=self.cancelled_at is not None,
            plan=plan if self.plan else None,
            all_committed=bool(self.plan) and not self.pending(),
        )

    @property
    def is_terminal(self) -> bool:
        """Whether the status is final."""
        return self.status in TERMINAL

    @property
    def is_delivered(self) -> bool:
        """Whether no results are left to be delivered."""
        has_results = self.final is not None
        wanted = self.batch.destination is not None and has_results
        return self.delivery_receipt is not None or not wanted

    def require_plan(self) -> Plan:
        """Return the plan.

        Raises:
            ConflictError: the batch has not been planned yet.
            CorruptObjectError: the plan is corrupt.

        """
        if Plan in self.corrupt.values():
            raise CorruptObjectError(f"the plan of `{self.batch.id}` is corrupt")
        if self.plan is None:
            raise ConflictError(
                f"`{self.batch.id}` has not been planned yet",
                hint=f"see its status with `batchchat status {self.batch.id}`",
            )
        return self.plan

    def pending(self) -> list[int]:
        """Return the shards that have no commit, and need one."""
        if self.final is not None or self.plan is None or not self.plan.has_valid_lines:
            return []
        shards = self.plan.shards[self.commits.contiguous_until :]
        return [s.index for s in shards if s.index not in self.commits]

    def counts(self) -> Counts:
        """Return the number of finished requests, those of running shards included."""
        if self.final:
            return self.final.counts
        done = sum(
            (counts for counts, _ in self._running_totals()), self.commits.counts
        )
        total = self.plan.requests if self.plan else 0
        return Counts(total, done.completed, done.failed)

    def usage(self) -> Usage:
        """Return the tokens used so far, those of running shards included."""
        if self.final:
            return self.final.usage
        return sum((usage for _, usage in self._running_totals()), self.commits.usage)

    def reused(self) -> int:
        """Return the number of committed answers that are those of earlier batches."""
        return self.final.reused if self.final else self.commits.reused

    def cost(self) -> Decimal | None:
        """Return what the tokens used so far cost, in US dollars.

        None if the catalog has no price for the model, or before the model is known.
        """
        model = self.plan.model if self.plan else None
        if model is None:
            return self.final.estimated_cost if self.final else None
        price = model.price
        if price is None:  # a final record of format 1 has 0
            return None
        return self.final.estimated_cost if self.final else price.cost(self.usage())

    def engine_seconds(self) -> float:
        """Return the engine time of the committed shards, in seconds."""
        if self.final:
            return self.final.engine_seconds
        return self.commits.engine_seconds

    def engine_cost(self) -> Decimal | None:
        """Return what that GPU time costs, None if the catalog has no price for it.

        Each engine counts with its own number of GPUs, those of older versions with the
        planned one.
        """
        model = self.plan.model if self.plan else None
        if model is None:
            return None
        if self.final is None:
            old = model.gpus * self.commits.unassigned_seconds
            return model.gpu_cost(self.commits.gpu_seconds + old)
        if self.final.gpu_seconds is None:
            return model.engine_cost(self.final.engine_seconds)
        return model.gpu_cost(self.final.gpu_seconds)

    def _running_totals(self) -> list[tuple[Counts, Usage]]:
        return [n for shard, n in self.running.items() if shard not in self.commits]

    def last_commit_at(self) -> int | None:
        """Return when the last shard was committed, None if some are not yet."""
        if self.plan is None or not self.commits or self.pending():
            return None
        return self.commits.last_commit_at
