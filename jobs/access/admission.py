"""Admits new batches within the limits of their project.

The limits hold across all servers without a counter that could be wrong: a batch first
reserves its place in the index of unfinished batches, and is admitted if everything in
the index together is within the limits. Of two requests that race for the last place,
perhaps none gets it, but never both.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TypeVar

from batchchat.jobs.errors import LimitExceededError, NotFoundError
from batchchat.jobs.ids import id_created_at, smallest_id_at
from batchchat.jobs.ledger.active_index import ActiveBatch, ActiveIndex
from batchchat.jobs.ledger.deletions import read_deletion
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.project_rules import ProjectRules

_READ_CONCURRENCY = 16
_DAY_SECONDS = 86_400
_RESERVATION_SECONDS = 3_600
"""Age after which a place without a batch is free: a server failed to create it. The
clocks of two servers may differ by as much."""

_TEXTS = {
    "max_open_batches": "{:,} unfinished batches",
    "max_open_requests": "{:,} requests in unfinished batches",
    "max_daily_cost": "batches for {:,} US dollars a day",
}

V = TypeVar("V")

EndedCosts = LruCache[str, Decimal]
"""The costs of ended batches, by id."""


class Admission:
    """Admits batches of one project."""

    def __init__(
        self, ledger: Ledger, rules: ProjectRules, ended_costs: EndedCosts
    ) -> None:
        """Apply `rules`; `ended_costs` is a cache that all requests share."""
        self._ledger = ledger
        self._rules = rules
        self._ended_costs = ended_costs
        self._index = ActiveIndex(ledger.storage)

    def admit(self, batch_id: str, asked: ActiveBatch) -> ActiveBatch:
        """Reserve the place of a batch; return what is reserved.

        A batch without a cost limit gets what is left of the day's. Call `confirm` once
        the batch exists.

        Raises:
            LimitExceededError: the project has no room for it; nothing is reserved.

        """
        reserved = self._fit(batch_id, asked)  # writes nothing if there is no room
        self._index.add(self._ledger.project, batch_id, reserved)
        try:
            self._fit(batch_id, reserved)
        except LimitExceededError:
            self.release(batch_id, reserved)
            raise
        return reserved

    def release(self, batch_id: str, reserved: ActiveBatch) -> None:
        """Give up the place of a batch, unless another server has created it.

        A batch that exists leaves the index only when it has ended, or nothing would
        run it if this process died.
        """
        if self._exists(batch_id):
            return
        self._index.remove(self._ledger.project, batch_id)
        if self._exists(batch_id):
            self.confirm(batch_id, reserved)

    def confirm(self, batch_id: str, reserved: ActiveBatch) -> None:
        """Keep the place of a batch that exists now.

        The same request, rejected by another server, may have removed it.
        """
        self._index.add(self._ledger.project, batch_id, reserved)

    def _fit(self, batch_id: str, asked: ActiveBatch) -> ActiveBatch:
        """Return what to reserve for a batch. Raises `LimitExceededError`."""
        others = self._others(batch_id)
        try:
            self._check_open(others, asked)
        except LimitExceededError:  # only now read which of them have ended
            others = self._unended(others)
            self._check_open(others, asked)
        if self._rules.max_daily_cost is None:
            return asked
        spent = self._spent_today(batch_id, others)
        left = max(Decimal(0), self._rules.max_daily_cost - spent)
        cost = left if asked.max_cost is None else asked.max_cost
        # Nothing fits into a day of which nothing is left.
        self._check("max_daily_cost", spent, cost or Decimal(1))
        return ActiveBatch(requests=asked.requests, max_cost=cost)

    def _check_open(self, others: dict[str, ActiveBatch], asked: ActiveBatch) -> None:
        self._check("max_open_batches", len(others), 1)
        requests = sum(other.requests for other in others.values())
        self._check("max_open_requests", requests, asked.requests)

    def _unended(self, others: dict[str, ActiveBatch]) -> dict[str, ActiveBatch]:
        """Return those that have not ended.

        An ended batch stays in the index until its results are delivered, which takes a
        day if its destination is down. That must not keep a project from working.
        """
        costs = _read_all(list(others), self._ended_cost)
        return {other: one for other, one in others.items() if costs[other] is None}

    def _check(self, name: str, used: Decimal | int, more: Decimal | int) -> None:
        limit = getattr(self._rules, name)
        if limit is not None and used + more > limit:
            raise LimitExceededError(
                f"Limit reached: the project may have {_TEXTS[name].format(limit)}"
                f" (`{name}`). It has {used:,}, and this batch would add {more:,}.",
                limit=name,
            )

    def _others(self, batch_id: str) -> dict[str, ActiveBatch]:
        """Return the unfinished batches of the project, without this one."""
        found = self._index.of_project(self._ledger.project)
        ids = [other for other in found if other != batch_id]
        needs = _read_all(ids, self._needs)
        return {other: one for other, one in needs.items() if one is not None}

    def _needs(self, batch_id: str) -> ActiveBatch | None:
        """Return what an unfinished batch needs; None if it was never created.

        An entry says nothing if it is of an older version or was written again.
        """
        needs = self._index.get(self._ledger.project, batch_id)
        age = self._ledger.clock() - id_created_at(batch_id)
        if age > _RESERVATION_SECONDS and not self._exists(batch_id):
            return None
        if needs != ActiveBatch():
            return needs
        try:
            batch = self._ledger.batch(batch_id)
            lines = self._ledger.file(batch.input_file_id).lines
        except NotFoundError:
            return needs
        return ActiveBatch(requests=lines or 0, max_cost=batch.max_cost)

    def _spent_today(self, batch_id: str, others: dict[str, ActiveBatch]) -> Decimal:
        """Return what the batches created today have cost, or may cost at most."""
        today = self._ledger.now() // _DAY_SECONDS * _DAY_SECONDS
        folder = self._ledger.keys.batches()
        first = smallest_id_at("batch", today)
        created = {*self._ledger.storage.folders(folder, first)}
        created |= {other for other in others if id_created_at(other) >= today}
        created |= {*self._ledger.listing.deleted(first)}
        costs = _read_all(sorted(created - {batch_id}), self._ended_cost)
        reserved = {one: other.max_cost or Decimal(0) for one, other in others.items()}
        return sum(
            (
                reserved.get(one, Decimal(0)) if cost is None else cost
                for one, cost in costs.items()
            ),
            Decimal(0),
        )

    def _ended_cost(self, batch_id: str) -> Decimal | None:
        """Return the cost of a batch, also after its deletion; None if it runs."""
        cost = self._ended_costs.get(batch_id)
        if cost is None:
            ended = self._ledger.outcome(batch_id) or read_deletion(
                self._ledger, batch_id
            )
            if ended is not None:
                cost = ended.estimated_cost or Decimal(0)
                self._ended_costs.put(batch_id, cost)
        return cost

    def _exists(self, batch_id: str) -> bool:
        try:
            self._ledger.batch(batch_id)
        except NotFoundError:
            return False
        return True


def _read_all(ids: list[str], read: Callable[[str], V]) -> dict[str, V]:
    with ThreadPoolExecutor(_READ_CONCURRENCY) as pool:
        return dict(zip(ids, pool.map(read, ids), strict=True))
