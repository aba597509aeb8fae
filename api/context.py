"""The dependencies shared by all routes of a server."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from batchchat.jobs.access.admission import EndedCosts
from batchchat.jobs.access.api_keys import ApiKeys
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.record_caches import RecordCaches
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import CachedStorage, LocalStorage, Storage
from batchchat.jobs.storage.destination import AllowedDestinations

_ENDED_COSTS = 20_000
"""Ended batches whose cost is remembered."""


@dataclass(frozen=True)
class AppContext:
    """The server's dependencies; `storage` caches immutable objects in memory.

    `loopback_only` is whether only this machine can reach the server, so that it may
    run without API keys.
    """

    settings: Settings
    catalog: Catalog
    storage: Storage
    keys: ApiKeys
    loopback_only: bool
    clock: Callable[[], float] = field(default=time.time)
    caches: RecordCaches = field(default_factory=RecordCaches)
    ended_costs: EndedCosts = field(default_factory=lambda: EndedCosts(_ENDED_COSTS))
    local_storage: LocalStorage | None = None
    """The underlying storage if it is a local folder."""

    def ledger(self, project: str) -> Ledger:
        """Return the ledger of a project."""
        caches = RecordCaches(self.caches)
        return Ledger(self.storage, project, self.clock, caches)

    @property
    def destinations(self) -> AllowedDestinations:
        """The locations that results may be delivered to."""
        return AllowedDestinations(self.settings.output_prefixes, self.storage.url)

    @property
    def active(self) -> ActiveIndex:
        """The batches awaiting execution."""
        return ActiveIndex(self.storage)


def make_context(
    settings: Settings, catalog: Catalog, storage: Storage, *, loopback_only: bool
) -> AppContext:
    """Return the dependencies, with a cache over `storage`."""
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
