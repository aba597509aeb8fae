"""Batches as they are shown; those that have ended are made into JSON once."""

from collections import OrderedDict
from collections.abc import Callable

from batchchat.api.http.json_response import encode
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.ledger.ledger import Ledger, State
from batchchat.jobs.results.finalize import publish_results

_SETTLE_SECONDS = 60
"""Seconds after which nobody else is still about to write how a batch ended."""

_MAX_CACHED_BATCHES = 10_000

AddProgress = Callable[[State], State]
"""Adds what is done in shards that run, beyond what is committed."""


class BatchView:
    """The JSON of batches, for all projects of a server."""

    def __init__(self, add_progress: AddProgress = lambda state: state) -> None:
        """Remember none."""
        self._add_progress = add_progress
        self._cache: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def cached(self, project: str, batch_id: str) -> bytes | None:
        """Return the JSON of a batch that is known to have ended."""
        return self._cache.get((project, batch_id))

    def render(self, ledger: Ledger, batch_id: str) -> bytes:
        """Return the JSON of a batch as it is now. Raises `NotFoundError`."""
        known = self.cached(ledger.project, batch_id)
        if known is not None:
            return known
        state = ledger.state(batch_id)
        text = self.render_state(ledger, state)
        ended = state.final or state.plan
        is_over = state.is_terminal and state.is_delivered
        if is_over and ended and ledger.now() - ended.created_at > _SETTLE_SECONDS:
            self._cache[ledger.project, batch_id] = text
            if len(self._cache) > _MAX_CACHED_BATCHES:
                self._cache.popitem(last=False)
        return text

    def render_state(self, ledger: Ledger, state: State) -> bytes:
        """Return the JSON of a batch that stands there.

        Who is told that a batch has ended finds its files, though the process that
        ended it may not have come to make them visible.
        """
        publish_results(ledger, state)
        return encode(batch_object(self._add_progress(state)))
