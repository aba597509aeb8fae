"""What the parts of a controller, a worker or a local runner have in common."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import Storage
from batchchat.workers.broker.lease_keeper import LeaseKeeper
from batchchat.workers.broker.leases import Leases
from batchchat.workers.broker.status_board import StatusBoard


def _ignore(_: BaseException) -> None:
    """Do nothing: the failure was logged and the work is repeated."""


@dataclass(frozen=True, kw_only=True)
class WorkerEnvironment:
    """The services that a process uses, its settings and its clocks.

    A shard retries a failing storage for `storage_timeout` seconds. `on_failure` gets
    each error that keeps work from being done, except for those of the engine. If the
    process runs a single batch, a display shows its `progress`.
    """

    storage: Storage
    settings: Settings
    leases: Leases
    status_board: StatusBoard
    host_name: str = ""
    storage_timeout: float = math.inf
    on_failure: Callable[[BaseException], object] = _ignore
    progress: Progress = field(default_factory=Progress)
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def lease_keeper(self) -> LeaseKeeper:
        """Return a new keeper of this environment's leases."""
        return LeaseKeeper(
            self.leases,
            lease_seconds=self.settings.lease_seconds,
            stall_seconds=self.settings.stall_seconds,
            clock=self.monotonic,
        )
