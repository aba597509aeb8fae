"""Keeps the leases of a process: renews them while their work makes progress."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Event, Lock, Thread

from batchchat.jobs.errors import BrokerError
from batchchat.workers.broker.leases import Leases
from batchchat.workers.broker.throttled_log import ThrottledLog

_MAX_TICK_SECONDS = 1.0
_TICKS_PER_LEASE = 10
_RENEWALS_PER_LEASE = 3
"""Renewals within the duration of a lease, so that two of them may fail."""

log = logging.getLogger(__name__)


@dataclass
class _Claim:
    """A lease that is held; `progress_counter` grows while its work progresses."""

    name: str
    progress_counter: Callable[[], int]
    on_lost: Callable[[], object]
    renewed_at: float
    last_count: int = -1
    progressed_at: float = 0.0


class LeaseKeeper:
    """Renews leases in a thread of its own."""

    def __init__(
        self,
        leases: Leases,
        *,
        lease_seconds: float,
        stall_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Stop renewing a lease after `stall_seconds` without progress."""
        self._leases = leases
        self._lease_seconds = lease_seconds
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._throttled_log = ThrottledLog("leases")
        self._ticked_at: float | None = None
        self._claims: dict[str, _Claim] = {}
        self._names: set[str] = set()
        self._lock = Lock()
        self._stopped = Event()

    @contextmanager
    def hold(
        self,
        name: str,
        progress_counter: Callable[[], int],
        on_lost: Callable[[], object],
    ) -> Iterator[bool]:
        """Hold the lease `name` during the block; yield whether it was acquired.

        Of two concurrent blocks in one process only the first gets the lease, even if
        Redis was flushed in between and would grant it again.
        """
        with self._reserve_name(name) as is_first:
            if is_first and self._leases.acquire(name):
                with self._keep_renewed(name, progress_counter, on_lost):
                    yield True
            else:
                yield False

    def hold_unmonitored(self, name: str) -> AbstractContextManager[bool]:
        """Hold a lease as `hold` does, for work that does not report progress."""
        counter = count()
        return self.hold(name, lambda: next(counter), lambda: None)

    @contextmanager
    def _reserve_name(self, name: str) -> Iterator[bool]:
        with self._lock:
            is_first = name not in self._names
            self._names.add(name)
        try:
            yield is_first
        finally:
            if is_first:
                with self._lock:
                    self._names.remove(name)

    @contextmanager
    def _keep_renewed(
        self,
        name: str,
        progress_counter: Callable[[], int],
        on_lost: Callable[[], object],
    ) -> Iterator[None]:
        now = self._clock()
        claim = _Claim(
            name, progress_counter, on_lost, renewed_at=now, progressed_at=now
        )
        with self._lock:
            self._claims[name] = claim
        try:
            yield
        finally:
            with self._lock:
                del self._claims[name]
            self._release(name)

    def start(self, on_tick: Callable[[], object] = lambda: None) -> None:
        """Start to renew leases; each tick also calls `on_tick`."""
        interval = min(_MAX_TICK_SECONDS, self._lease_seconds / _TICKS_PER_LEASE)

        def run() -> None:
            while not self._stopped.wait(interval):
                for task in (self.tick, on_tick):
                    try:
                        task()
                    except Exception:  # a bug must not stop the renewals
                        log.exception("a tick of the lease keeper failed")
                # Time that the tasks took must not look like a suspended process.
                self._ticked_at = self._clock()

        Thread(target=run, name="lease-keeper", daemon=True).start()

    def stop(self) -> None:
        """Stop to renew leases."""
        self._stopped.set()

    def tick(self) -> None:
        """Renew the leases that are due and whose work has progressed.

        After a gap longer than a lease (the machine or the process was suspended) all
        leases have expired and other workers may already run the work.
        """
        now = self._clock()
        gap = now - self._ticked_at if self._ticked_at is not None else 0.0
        self._ticked_at = now
        with self._lock:
            claims = list(self._claims.values())
        if claims and gap > self._lease_seconds:
            log.warning("suspended for %.0fs: handing back all running work", gap)
            for claim in claims:
                claim.on_lost()
            return
        self._renew_due(claims, now)

    def _renew_due(self, claims: list[_Claim], now: float) -> None:
        is_reachable = True
        for claim in claims:
            if (counted := claim.progress_counter()) != claim.last_count:
                claim.last_count, claim.progressed_at = counted, now
            due = now - claim.renewed_at >= self._lease_seconds / _RENEWALS_PER_LEASE
            progresses = now - claim.progressed_at < self._stall_seconds
            if due and is_reachable and progresses:
                is_reachable = self._renew(claim, now)

    def _renew(self, claim: _Claim, now: float) -> bool:
        """Renew a lease; return whether Redis could be reached."""
        try:
            is_ours = self._leases.renew(claim.name)
        except BrokerError as error:  # the work continues: a lease decides nothing
            self._throttled_log.report(error.message)
            return False
        self._throttled_log.report(None)
        claim.renewed_at = now
        if not is_ours:
            log.warning("lost the lease on %s to another worker", claim.name)
            claim.on_lost()
        return True

    def _release(self, name: str) -> None:
        try:
            self._leases.release(name)
        except BrokerError as error:  # the lease expires
            log.debug("cannot release a lease: %s", error)
