"""The cost limit of a batch.

A batch submits no more requests once its limit would be exceeded by the finished
requests plus those in the engine, if these cost as much as the finished ones on
average. The requests in the engine finish, so no computed result is discarded.

The process that notices requests a cancellation with the reason, so that the end is
decided once and the batch ends like a cancelled one. See
`docs/decisions/0016-cost-limit.md`.
"""

from decimal import Decimal

from batchchat.jobs.catalog.usage import Price, Usage
from batchchat.jobs.errors import UsageError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch, Cancel, Counts
from batchchat.jobs.ledger.state import State

MAX_COST_REACHED = "max_cost_reached"
"""The reason of the cancellation, and the error code of the requests that never ran."""

DRAIN_SECONDS = 600.0
"""How long requests in the engine may take to finish, as with OpenAI's cancel."""


def cost_limit_reached(
    batch: Batch, price: Price | None, done: Counts, usage: Usage, in_flight: int
) -> bool:
    """Return whether the batch must submit no more requests.

    `done` counts the finished requests, `usage` their tokens, and `in_flight` the
    requests in the engine.
    """
    if batch.max_cost is None or price is None:
        return False
    spent = price.cost(usage)
    each = spent / done.completed if done.completed else Decimal(0)
    return spent + each * in_flight >= batch.max_cost


def request_cost_cancellation(ledger: Ledger, batch_id: str) -> None:
    """Request the cancellation of a batch; an earlier request takes precedence."""
    key = ledger.keys.batch(batch_id).cancel
    request = Cancel(ledger.now(), reason=MAX_COST_REACHED)
    ledger.storage.create(key, records.encode(request))


def drain_seconds(state: State) -> float:
    """Return how long requests in the engine may take after a cancellation."""
    cancel = state.cancel
    return DRAIN_SECONDS if cancel and cancel.reason is not None else 0.0


def check_cost_limit(
    max_cost: Decimal | float | None, price: Price | None, model: str
) -> None:
    """Check that a cost limit can be applied.

    Raises:
        UsageError: the catalog has no price for the model.

    """
    if max_cost is not None and price is None:
        raise UsageError(
            f"`max_cost` needs a price for `{model}`, and the catalog has none",
            hint="add `price` to the model in BATCHCHAT_CONFIG, or omit the limit",
        )
