"""Batch objects as JSON; those of ended batches are cached."""

from collections.abc import Callable

from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.results.finalize import publish_results

_SETTLE_SECONDS = 60
"""Age at which the outcome of a batch is final, even if writers race to record it."""

MAX_CACHED_BYTES = 64 * 1024 * 1024
"""Bytes of Batch objects in memory; one has from 2 KB to 0.5 MB."""

_ENTRY_BYTES = 500
"""The key of a batch, and what the cache itself needs for it."""

AddProgress = Callable[[State], State]
"""Adds the progress of running shards to what is committed."""


class BatchView:
    """Renders and caches the batches of all projects of a server."""

    def __init__(self, add_progress: AddProgress = lambda state: state) -> None:
        """Start with an empty cache."""
        self._add_progress = add_progress
        self._cache: LruCache[str, bytes] = LruCache(
            MAX_CACHED_BYTES, lambda text: len(text) + _ENTRY_BYTES
        )

    def cached(self, project: str, batch_id: str) -> bytes | None:
        """Return the cached JSON of an ended batch, if there is any."""
        return self._cache.get(f"{project}/{batch_id}")

    def render(self, ledger: Ledger, batch_id: str) -> bytes:
        """Return the current JSON of a batch. Raises `NotFoundError`."""
        known = self.cached(ledger.project, batch_id)
        if known is not None:
            return known
        state = ledger.state(batch_id)
        text = self.render_state(ledger, state)
        ended = state.final or state.plan
        is_over = state.is_terminal and state.is_delivered
        if is_over and ended and ledger.now() - ended.created_at > _SETTLE_SECONDS:
            self._cache.put(f"{ledger.project}/{batch_id}", text)
        return text

    def render_state(self, ledger: Ledger, state: State) -> bytes:
        """Return the JSON of a batch in the given state.

        The files of an ended batch are published first: the process that ended it may
        have died before it did so, and the client will ask for them next.
        """
        publish_results(ledger, state)
        return encode(batch_object(self._add_progress(state)))
