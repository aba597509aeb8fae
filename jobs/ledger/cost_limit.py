"""What a batch may cost, and whether it has come so far.

A batch with a limit asks for no more answers once what is finished, and what the
requests in the engine will cost if they cost what the finished ones did, would
pass it. Those in the engine finish, so nothing that was computed is thrown away.

Whoever sees it writes the wish to cancel, with its reason: so the end is decided
once, and everything else is as with a cancel. Why so:
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
"""The reason of a cancel, and the code of the requests that were not run for it."""

DRAIN_SECONDS = 600.0
"""Seconds that requests in the engine have to finish, as many as OpenAI's cancel."""


def cost_limit_reached(
    batch: Batch, price: Price | None, done: Counts, usage: Usage, in_flight: int
) -> bool:
    """Say whether the batch may ask for no more.

    `done` are the requests finished, `usage` their tokens; `in_flight` are those that
    the engine has.
    """
    if batch.max_cost is None or price is None:
        return False
    spent = price.cost(usage)
    each = spent / done.completed if done.completed else Decimal(0)
    return spent + each * in_flight >= batch.max_cost


def request_cost_cancellation(ledger: Ledger, batch_id: str) -> None:
    """Write down that the batch is to end; the first wish counts."""
    key = ledger.keys.batch(batch_id).cancel
    wish = Cancel(ledger.now(), reason=MAX_COST_REACHED)
    ledger.storage.create(key, records.encode(wish))


def drain_seconds(state: State) -> float:
    """Return the seconds that requests of a batch which is to stop may finish in."""
    wish = state.cancel
    return DRAIN_SECONDS if wish and wish.reason is not None else 0.0


def check_cost_limit(
    max_cost: Decimal | float | None, price: Price | None, model: str
) -> None:
    """Refuse a limit that nobody could hold.

    Raises:
        UsageError: the catalog has no price of the model.

    """
    if max_cost is not None and price is None:
        raise UsageError(
            f"the most it may cost is set, and the catalog has no price of `{model}`",
            hint="add `price` to the model in BATCHCHAT_CONFIG, or leave the limit out",
        )
