"""Which batches a list contains: those with a status and with certain metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class BatchFilter:
    """Selects batches with one of `statuses` (empty: any) and all of `metadata`."""

    statuses: frozenset[str] = frozenset()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def allows_status(self, status: str) -> bool:
        """Return whether a batch with that status is selected."""
        return not self.statuses or status in self.statuses

    def allows_metadata(self, metadata: Mapping[str, str] | None) -> bool:
        """Return whether a batch with that metadata is selected."""
        return self.metadata.items() <= (metadata or {}).items()


EVERY_BATCH = BatchFilter()
