"""One ledger for each project, so that records which were read stay in memory."""

from collections.abc import Callable, Collection
from threading import Lock

from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.record_caches import RecordCaches
from batchchat.jobs.storage import Storage
from batchchat.jobs.storage.paced import PacedStorage


class LedgerCache:
    """The ledgers of all projects in one storage; safe for use by threads."""

    def __init__(self, storage: Storage, clock: Callable[[], float]) -> None:
        """`clock` returns Unix seconds."""
        self._storage = storage
        self._clock = clock
        self._ledgers: dict[str, Ledger] = {}
        self._caches = RecordCaches()
        self._lock = Lock()

    def get(self, project: str) -> Ledger:
        """Return the ledger of a project."""
        with self._lock:
            if project not in self._ledgers:
                self._ledgers[project] = Ledger(
                    self._storage, project, self._clock, self._caches
                )
            return self._ledgers[project]

    def paced(self, project: str, pause: Callable[[], object]) -> Ledger:
        """Return a ledger that calls `pause` before each piece of data it reads."""
        return self.get(project).through(PacedStorage(self._storage, pause))

    def retain(self, projects: Collection[str]) -> None:
        """Free the memory of all other projects."""
        with self._lock:
            for project in self._ledgers.keys() - set(projects):
                del self._ledgers[project]

    def invalidate(self) -> None:
        """Forget records that may have been replaced since they were read."""
        with self._lock:
            ledgers = list(self._ledgers.values())
        for ledger in ledgers:
            ledger.invalidate_caches()
