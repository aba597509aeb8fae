"""What a dispatcher knows about leases, including those that Redis lost in a flush."""

from collections.abc import Callable, Collection

from batchchat.workers.broker.leases import Leases


class LeaseView:
    """The leases as seen during one sweep, compared with the sweep before."""

    def __init__(
        self, leases: Leases, lease_seconds: float, monotonic: Callable[[], float]
    ) -> None:
        """Leases last `lease_seconds`."""
        self._leases = leases
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
        self._held: set[str] = set()
        self._flushed: set[str] = set()
        self._flushed_until = 0.0

    def start_sweep(self) -> None:
        """Begin a new sweep.

        After a flush of Redis, the holders claim their leases again. Until they had
        time to, the leases before the flush count as held, so that no shard is sent
        to a second worker.
        """
        now = self._monotonic()
        if self._leases.detect_flush():
            self._flushed = self._held
            self._flushed_until = now + self._lease_seconds
        elif now >= self._flushed_until:
            self._flushed = set()
        self._held = set()

    def held(self, names: Collection[str]) -> set[str]:
        """Return the subset of `names` that any process holds."""
        held = self._leases.held(names) | (self._flushed & set(names))
        self._held |= held
        return held
