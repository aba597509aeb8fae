"""Begins a batch: its input as a file of the storage, then the wish for it."""

import secrets
from decimal import Decimal

import msgspec

from batchchat.jobs.errors import ConflictError
from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch, Cancel, File
from batchchat.jobs.requests.schema import ENDPOINT

COMPLETION_WINDOWS = {"24h": 86_400, "7d": 604_800}
"""Completion windows, in seconds; OpenAI's is 24h."""


class BatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may ask of a batch, beside its input."""

    model: str | None = None
    seed: int | None = None
    on_invalid: str = "fail"
    completion_window: str = "24h"
    metadata: dict[str, str] | None = None
    retry_of: str | None = None
    output: str | None = None
    destination: str | None = None
    output_format: str = "jsonl"
    priority: str = "normal"
    output_expires_after: int | None = None
    max_cost: Decimal | None = None


def create_batch(
    ledger: Ledger,
    input_file: File,
    options: BatchOptions,
    *,
    enqueue: bool = False,
    batch_id: str | None = None,
) -> Batch:
    """Write down what is asked for; from here on the batch exists.

    `enqueue` puts it first into the index of those that a cluster or a server
    runs. With a `batch_id` that exists the batch is returned as it was made.
    """
    now = ledger.now()
    seed = options.seed if options.seed is not None else secrets.randbelow(2**53)
    batch = Batch(
        id=batch_id or new_batch_id(),
        project=ledger.project,
        input_file_id=input_file.id,
        endpoint=ENDPOINT,
        completion_window=options.completion_window,
        created_at=now,
        expires_at=now + COMPLETION_WINDOWS[options.completion_window],
        seed=seed,
        model=options.model,
        on_invalid=options.on_invalid,
        metadata=options.metadata,
        retry_of=options.retry_of,
        output=options.output,
        destination=options.destination,
        output_format=options.output_format,
        priority=options.priority,
        output_expires_after=options.output_expires_after,
        max_cost=options.max_cost,
    )
    if enqueue:
        ActiveIndex(ledger.storage).add(ledger.project, batch.id)
    key = ledger.keys.batch(batch.id).batch
    if ledger.storage.create(key, records.encode(batch)):
        return batch
    return ledger.batch(batch.id)


def cancel_batch(ledger: Ledger, batch_id: str) -> None:
    """Write down the wish that the batch stop; again is no error.

    Raises:
        ConflictError: it has ended otherwise already.

    """
    state = ledger.state(batch_id)
    if state.is_terminal and state.status != "cancelled":
        message = f"Cannot cancel a batch with status '{state.status}'."
        raise ConflictError(message)
    key = ledger.keys.batch(batch_id).cancel
    ledger.storage.create(key, records.encode(Cancel(ledger.now())))
