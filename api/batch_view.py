"""Batches as they are shown; those that have ended are made into JSON once."""

from collections import OrderedDict
from collections.abc import Callable

from batchchat.api.http.json_response import encode
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.ledger.ledger import Ledger, State
from batchchat.jobs.results.finalize import publish_results

_SETTLED = 60
"""Seconds after which nobody else is still about to write how a batch ended."""

_MOST = 10_000

WithNews = Callable[[State], State]
"""Adds what is done in shards that run, beyond what is committed."""


class Shown:
    """The JSON of batches, for all projects of a server."""

    def __init__(self, with_news: WithNews = lambda state: state) -> None:
        """Remember none."""
        self._with_news = with_news
        self._ended: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def remembered(self, project: str, batch_id: str) -> bytes | None:
        """Return the JSON of a batch that is known to have ended."""
        return self._ended.get((project, batch_id))

    def of(self, ledger: Ledger, batch_id: str) -> bytes:
        """Return the JSON of a batch as it is now. Raises `NotFoundError`."""
        known = self.remembered(ledger.project, batch_id)
        if known is not None:
            return known
        state = ledger.state(batch_id)
        text = self.of_state(ledger, state)
        ended = state.final or state.plan
        is_over = state.is_terminal and state.is_delivered
        if is_over and ended and ledger.now() - ended.created_at > _SETTLED:
            self._ended[ledger.project, batch_id] = text
            if len(self._ended) > _MOST:
                self._ended.popitem(last=False)
        return text

    def of_state(self, ledger: Ledger, state: State) -> bytes:
        """Return the JSON of a batch that stands there.

        Who is told that a batch has ended finds its files, though the process that
        ended it may not have come to make them visible.
        """
        publish_results(ledger, state)
        return encode(batch_object(self._with_news(state)))
