"""Applies the limits of projects to what clients ask for."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import msgspec

from batchchat.api.context import AppContext
from batchchat.api.http.errors import NO_RETRY, ApiError
from batchchat.jobs.access.admission import Admission
from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.errors import LimitExceededError, UsageError
from batchchat.jobs.files.files import Files
from batchchat.jobs.files.stored_bytes import stored_bytes
from batchchat.jobs.ledger.active_index import ActiveBatch
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.cost_limit import check_cost_limit
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import File
from batchchat.jobs.project_rules import PRIORITIES


def check_priority(context: AppContext, ledger: Ledger, priority: str) -> None:
    """Reject a priority above the project's highest. Raises `ApiError` (403)."""
    highest = context.settings.project_rules(ledger.project).max_priority
    if PRIORITIES.index(priority) > PRIORITIES.index(highest):
        message = f"The highest priority of this project is '{highest}'"
        message += " (`max_priority`)."
        raise ApiError(
            403, message, param="priority", code="limit_exceeded", headers=NO_RETRY
        )


def check_price(max_cost: Decimal | float | None, model: Model) -> None:
    """Reject a cost limit for a model without a price. Raises `ApiError` (400)."""
    try:
        check_cost_limit(max_cost, model.price, model.name)
    except UsageError as error:
        raise ApiError(
            400, error.message, param="max_cost", code="model_without_price"
        ) from None


@contextmanager
def admitted(
    context: AppContext,
    ledger: Ledger,
    batch_id: str,
    *,
    file: File,
    options: BatchOptions,
    model: Model | None,
) -> Iterator[BatchOptions]:
    """Reserve the place of a batch that the block creates; return its options.

    Raises:
        LimitExceededError: the project has no room for it.
        ApiError: its cost cannot be limited.

    """
    rules = context.settings.project_rules(ledger.project)
    if not rules.limits_batches:
        yield options
        return
    admission = Admission(ledger, rules, context.ended_costs)
    asked = ActiveBatch(requests=file.lines or 0, max_cost=options.max_cost)
    if rules.max_daily_cost is not None and model is not None:
        check_price(rules.max_daily_cost, model)
    reserved = admission.admit(batch_id, asked)
    try:
        yield msgspec.structs.replace(options, max_cost=reserved.max_cost)
    except UsageError:
        admission.release(batch_id, reserved)
        raise
    admission.confirm(batch_id, reserved)


def check_stored_bytes(context: AppContext, ledger: Ledger, more: int = 1) -> None:
    """Check that the project may store `more` bytes. Raises `LimitExceededError`."""
    limit = context.settings.project_rules(ledger.project).max_stored_bytes
    if limit is None or stored_bytes(ledger) + more <= limit:
        return
    raise LimitExceededError(
        f"Limit reached: the project may store {limit:,} bytes in files"
        " (`max_stored_bytes`). Delete files that you no longer need.",
        limit="max_stored_bytes",
    )


def keep_within_limit(context: AppContext, ledger: Ledger, file: File) -> None:
    """Delete a new file again if the project has no room for it.

    Its size was unknown before, or another upload took the room in the meantime.
    Raises `LimitExceededError`.
    """
    try:
        check_stored_bytes(context, ledger, 0)
    except LimitExceededError:
        Files(ledger).delete(file.id)
        raise
