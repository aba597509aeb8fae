"""Batch objects as JSON; those of ended batches are cached."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from batchchat.jobs.errors import NotFoundError
from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.results.finalize import publish_results

_SETTLE_SECONDS = 60
"""Age at which the outcome of a batch is final, even if writers race to record it."""

_CHECK_SECONDS = 5.0
"""How long the object of a batch is returned without a check that the batch exists."""

MAX_CACHED_BYTES = 64 * 1024 * 1024
"""Bytes of Batch objects in memory; one has from 2 KB to 0.5 MB."""

_ENTRY_BYTES = 500
"""The key of a batch, and what the cache itself needs for it."""

AddProgress = Callable[[State], State]
"""Adds the progress of running shards to what is committed."""


@dataclass
class _Cached:
    """A Batch object, and when the batch was last seen, by the monotonic clock."""

    text: bytes
    checked_at: float


class BatchView:
    """Renders and caches the batches of all projects of a server."""

    def __init__(self, add_progress: AddProgress = lambda state: state) -> None:
        """Start with an empty cache."""
        self._add_progress = add_progress
        self._cache: LruCache[str, _Cached] = LruCache(
            MAX_CACHED_BYTES, lambda known: len(known.text) + _ENTRY_BYTES
        )

    def cached(self, project: str, batch_id: str) -> bytes | None:
        """Return the cached JSON of an ended batch that existed seconds ago, if any."""
        known = self._cache.get(f"{project}/{batch_id}")
        if known is None or time.monotonic() - known.checked_at > _CHECK_SECONDS:
            return None
        return known.text

    def forget(self, project: str, batch_id: str) -> None:
        """Drop a batch that this server has deleted."""
        self._cache.remove(f"{project}/{batch_id}")

    def render(
        self, ledger: Ledger, batch_id: str, *, is_listed: bool = False
    ) -> bytes:
        """Return the current JSON of a batch, which was just found if it `is_listed`.

        Raises `NotFoundError`.
        """
        known = self._cache.get(f"{ledger.project}/{batch_id}")
        if known is not None:
            if not is_listed:
                self._check_exists(ledger, batch_id)
                known.checked_at = time.monotonic()
            return known.text
        state = ledger.state(batch_id)
        text = self.render_state(ledger, state)
        ended = state.final or state.plan
        is_over = state.is_terminal and state.is_delivered
        if is_over and ended and ledger.now() - ended.created_at > _SETTLE_SECONDS:
            known = _Cached(text, time.monotonic())
            self._cache.put(f"{ledger.project}/{batch_id}", known)
        return text

    def _check_exists(self, ledger: Ledger, batch_id: str) -> None:
        """Raise `NotFoundError` if another process has deleted the batch."""
        try:
            ledger.listing.require(batch_id)
        except NotFoundError:
            self.forget(ledger.project, batch_id)
            ledger.forget(batch_id)
            raise

    def render_state(self, ledger: Ledger, state: State) -> bytes:
        """Return the JSON of a batch in the given state.

        The files of an ended batch are published first: the process that ended it may
        have died before it did so, and the client will ask for them next.
        """
        publish_results(ledger, state)
        return encode(batch_object(self._add_progress(state)))
