"""Batches as they are shown; those that have ended are made into JSON once."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from api.answer import encode
from jobs.batch_object import batch_object
from jobs.ledger import Ledger, State

_SETTLED = 60
"""Seconds after which nobody else is still about to write how a batch ended."""

_MOST = 10_000

News = Callable[[], Mapping[str, Any]]
"""How far the batch is that is run at this moment, beyond what is committed."""


class Shown:
    """The JSON of batches, for all projects of a server."""

    def __init__(self, news: News = dict) -> None:
        """Remember none."""
        self._news = news
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
        text = self.of_state(state)
        ended = state.final or state.plan
        if state.is_terminal and ended and ledger.now() - ended.created_at > _SETTLED:
            self._ended[ledger.project, batch_id] = text
            if len(self._ended) > _MOST:
                self._ended.popitem(last=False)
        return text

    def of_state(self, state: State) -> bytes:
        """Return the JSON of a batch that stands there."""
        shown = batch_object(state)
        if not state.is_terminal:
            self._add_news(shown)
        return encode(shown)

    def _add_news(self, shown: dict[str, Any]) -> None:
        """Count what is finished in shards that are not committed yet."""
        news, counts = self._news(), shown["request_counts"]
        if news.get("batch_id") != shown["id"] or news["total"] != counts["total"]:
            return
        if news["completed"] + news["failed"] > counts["completed"] + counts["failed"]:
            counts |= {name: news[name] for name in ("completed", "failed")}
