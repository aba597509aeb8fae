"""What the routes work with, made once for a server."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from batchchat.jobs.access.api_keys import ApiKeys
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.ledger.active_index import Active
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import CachedStorage, LocalStorage, Storage
from batchchat.jobs.storage.destination import Destinations


@dataclass(frozen=True)
class AppContext:
    """The parts; `storage` answers what never changes from memory.

    `loopback_only` says that nobody but this machine's users can reach the server, so
    that it may go without keys.
    """

    settings: Settings
    catalog: Catalog
    storage: Storage
    keys: ApiKeys
    loopback_only: bool
    clock: Callable[[], float] = field(default=time.time)
    local_storage: LocalStorage | None = None
    """The storage beneath, where that is a folder of this machine."""

    def ledger(self, project: str) -> Ledger:
        """Return the ledger of a project."""
        return Ledger(self.storage, project, self.clock)

    @property
    def destinations(self) -> Destinations:
        """Where results may go."""
        return Destinations(self.settings.output_prefixes, self.storage.url)

    @property
    def active(self) -> Active:
        """The batches that somebody shall run."""
        return Active(self.storage)


def make_context(
    settings: Settings, catalog: Catalog, storage: Storage, *, loopback_only: bool
) -> AppContext:
    """Return the parts over `storage`."""
    cached = CachedStorage(storage)
    local_storage = storage if isinstance(storage, LocalStorage) else None
    return AppContext(
        settings,
        catalog,
        cached,
        ApiKeys(cached),
        loopback_only,
        local_storage=local_storage,
    )
