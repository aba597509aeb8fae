"""Batches to disturb, one after the other, so that one is always running."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos.cluster import Cluster, until
from tests.chaos.load import Load

Seen = dict[str, Any]
"""What was measured during a disturbance, by what it is."""

CLOCK_FOLDER = str(Path(__file__).with_name("clock"))
"""On PYTHONPATH it makes a process's clock wrong by SECONDS_OFF."""

_PENDING_SHARDS = 8
"""Shards without a commit that leave time for a kill."""


class BatchSeries:
    """Batches one after the other, so that there is always one to disturb."""

    def __init__(self, cluster: Cluster, load: Load) -> None:
        """Submit the first batch."""
        self.seconds: list[float] = []
        """Until all shards of the victim ran elsewhere, for each disturbance."""
        self.again: list[int] = []
        """Requests that had to be run again, for each disturbance."""
        self._cluster = cluster
        self._load = load
        self._batches = [cluster.submit(load.data)]

    def disturb(self, do: Callable[[], int]) -> dict[str, float]:
        """Disturb a worker in the middle of shards; wait until others take them over.

        `do` returns the id of the process that it ends, 0 for none. It is repeated if
        the worker had finished its shards by then. Returns seconds by lease.
        """
        found: dict[str, float] = {}
        while not found:
            before = self.wait_until_busy()
            began, ends = time.monotonic(), do()
            again = self._cluster.count_lost_work(before)
            found = self._cluster.wait_until_taken_over(before, began)
            if not found:
                until(partial(is_gone, ends), "the end of the victim")
        self.seconds.append(max(found.values()))
        self.again.append(sum(again[name] for name in found))
        return found

    def end(self) -> Seen:
        """Wait for the end of all batches, and check their results."""
        accounts = [self._cluster.wait_for_end(batch_id) for batch_id in self._batches]
        for account in accounts:
            self._load.check(account)
        return {
            "running again after s": rounded(self.seconds),
            "requests run again": self.again,
            "results stored twice": sum(account.stored_twice for account in accounts),
            "batches": len(accounts),
        }

    def open_attempts(self) -> int:
        """Return the number of attempts that began and did not end."""
        ledger = self._cluster.ledger
        tops = [f"{ledger.keys.batch(one).top}/shards/" for one in self._batches]
        keys = [entry.key for top in tops for entry in ledger.storage.list(top)]
        return sum("/attempts/" in key for key in keys)

    def wait_until_busy(self) -> dict[str, str]:
        """Wait until two workers run a batch with many pending shards."""
        self._cluster.start_workers()

        def look() -> dict[str, str]:
            state = self._cluster.state(self._batches[-1])
            if state.plan and len(state.pending()) < _PENDING_SHARDS:
                self._batches.append(self._cluster.submit(self._load.data))
            has_shard_results = self._cluster.has_results(self._batches[-1])
            leases = self._cluster.leases()
            return leases if has_shard_results and len({*leases.values()}) > 1 else {}

        return until(look, "two workers with leases")


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def rounded(seconds: list[float]) -> list[float]:
    return [round(one, 1) for one in seconds]
