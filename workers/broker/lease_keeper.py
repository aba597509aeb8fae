"""Keeps what a process claims: renews its leases while there is progress."""

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

_LOOK = 1.0
_RENEWALS = 3
"""Renewals of a lease in its time, so that two may fail."""

log = logging.getLogger(__name__)


@dataclass
class Claim:
    """A lease that is held; `moves` grows while there is progress."""

    name: str
    moves: Callable[[], int]
    on_lost: Callable[[], object]
    renewed: float
    seen: int = -1
    moved: float = 0.0


class LeaseKeeper:
    """Renews leases from a thread of its own, and calls whoever wants to look too."""

    def __init__(
        self,
        leases: Leases,
        *,
        lease_seconds: float,
        stall_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A lease lasts `seconds`, and is let go after `stall` without progress."""
        self._leases = leases
        self._seconds = lease_seconds
        self._stall = stall_seconds
        self._clock = clock
        self._throttled_log = ThrottledLog("leases")
        self._looked: float | None = None
        self._claims: dict[str, Claim] = {}
        self._here: set[str] = set()
        self._lock = Lock()
        self._end = Event()

    @contextmanager
    def hold(
        self, name: str, moves: Callable[[], int], on_lost: Callable[[], object]
    ) -> Iterator[bool]:
        """Hold the lease `name` for the length of the block; yield if we have it.

        Of two blocks in one process the second has it not, even if Redis was emptied
        in between and would grant it again.
        """
        with self._one_here(name) as first:
            if first and self._leases.acquire(name):
                with self._renewed(name, moves, on_lost):
                    yield True
            else:
                yield False

    def hold_unmonitored(self, name: str) -> AbstractContextManager[bool]:
        """Hold a lease as `holding` does, for work that shows no progress."""
        moves = count()
        return self.hold(name, lambda: next(moves), lambda: None)

    @contextmanager
    def _one_here(self, name: str) -> Iterator[bool]:
        with self._lock:
            first = name not in self._here
            self._here.add(name)
        try:
            yield first
        finally:
            if first:
                with self._lock:
                    self._here.remove(name)

    @contextmanager
    def _renewed(
        self, name: str, moves: Callable[[], int], on_lost: Callable[[], object]
    ) -> Iterator[None]:
        now = self._clock()
        claim = Claim(name, moves, on_lost, renewed=now, moved=now)
        with self._lock:
            self._claims[name] = claim
        try:
            yield
        finally:
            with self._lock:
                del self._claims[name]
            self._release(name)

    def start(self, on_tick: Callable[[], object] = lambda: None) -> None:
        """Begin to renew; `on_tick` is called with each look."""

        def look_on() -> None:
            while not self._end.wait(min(_LOOK, self._seconds / 10)):
                for do in (self.tick, on_tick):
                    try:
                        do()
                    except Exception:  # renewals must go on, whatever it is
                        log.exception("a look failed")
                self._looked = self._clock()  # what took long was no sleep

        Thread(target=look_on, name="keeper", daemon=True).start()

    def stop(self) -> None:
        """Renew no more."""
        self._end.set()

    def tick(self) -> None:
        """Renew what is due and has moved.

        After a sleep longer than a lease (a machine that was suspended, a process
        that was stopped) all of them are over, and others are at the work by now.
        """
        now = self._clock()
        slept = now - self._looked if self._looked is not None else 0.0
        self._looked = now
        reached = True
        with self._lock:
            claims = list(self._claims.values())
        if claims and slept > self._seconds:
            log.warning("asleep for %.0fs: what was begun is handed back", slept)
            for claim in claims:
                claim.on_lost()
            return
        for claim in claims:
            if (moves := claim.moves()) != claim.seen:
                claim.seen, claim.moved = moves, now
            due = now - claim.renewed >= self._seconds / _RENEWALS
            if due and reached and now - claim.moved < self._stall:
                reached = self._renew(claim, now)

    def _renew(self, claim: Claim, now: float) -> bool:
        """Renew a claim; say whether Redis could be reached."""
        try:
            ours = self._leases.renew(claim.name)
        except BrokerError as error:  # works on: a lease decides nothing
            self._throttled_log.report(error.message)
            return False
        self._throttled_log.report(None)
        claim.renewed = now
        if not ours:
            log.warning("%s is somebody else's by now", claim.name)
            claim.on_lost()
        return True

    def _release(self, name: str) -> None:
        try:
            self._leases.release(name)
        except BrokerError as error:  # it ends by itself
            log.debug("can't release a lease: %s", error)
