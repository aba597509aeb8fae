"""Creates and cancels batches."""

import secrets

import msgspec

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.errors import ConflictError, NotFoundError
from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.active_index import ActiveBatch, ActiveIndex
from batchchat.jobs.ledger.batch_options import DEFAULT_ON_INVALID, BatchOptions
from batchchat.jobs.ledger.completion_window import expiry
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.readers import add_reader
from batchchat.jobs.ledger.records import Batch, Cancel, Extension, File
from batchchat.jobs.requests.schema import ENDPOINT


def create_batch(
    ledger: Ledger,
    input_file: File,
    options: BatchOptions,
    *,
    enqueue: bool = False,
    batch_id: str | None = None,
    resolved_model: Model | None = None,
) -> Batch:
    """Store a batch and return it; from here on it exists.

    `enqueue` first adds it to the index of the batches that a cluster or a server
    runs. If a batch with `batch_id` exists already, that one is returned unchanged.

    Raises:
        UsageError: the completion window is not valid.
        ConflictError: a batch that it needs was deleted.

    """
    now = ledger.now()
    expires_at = expiry(options.completion_window, now)
    on_invalid = options.on_invalid or DEFAULT_ON_INVALID
    chosen = msgspec.structs.asdict(options) | {"on_invalid": on_invalid}
    if options.seed is None:
        chosen["seed"] = secrets.randbelow(2**53)
    if options.prompt_time is None:
        chosen["prompt_time"] = now
    batch = Batch(
        id=batch_id or new_batch_id(),
        project=ledger.project,
        input_file_id=input_file.id,
        endpoint=ENDPOINT,
        created_at=now,
        expires_at=expires_at,
        format=_oldest_format(options, expires_at, on_invalid),
        resolved_model=resolved_model,
        **chosen,
    )
    _keep_sources(ledger, batch)
    if enqueue:
        needs = ActiveBatch(requests=input_file.lines or 0, max_cost=options.max_cost)
        ActiveIndex(ledger.storage).add(ledger.project, batch.id, needs)
    key = ledger.keys.batch(batch.id).batch
    if ledger.storage.create(key, records.encode(batch)):
        return batch
    return ledger.batch(batch.id)


def _keep_sources(ledger: Ledger, batch: Batch) -> None:
    """Mark the batches whose results or rows are a part of this one's results.

    The rows of a retry are found by the request lines of all batches that it repeats.
    """
    needs_all = batch.merge or batch.rows_of is not None
    source = batch.retry_of if needs_all else None
    while source is not None:
        try:
            add_reader(ledger, source, batch.id, always=True)
            source = ledger.batch(source).retry_of
        except NotFoundError:
            raise ConflictError(
                f"`{source}`, whose results this retry needs, was deleted",
                hint="submit the requests again with `batchchat submit FILE`",
            ) from None


def _oldest_format(
    options: BatchOptions, expires_at: int | None, on_invalid: str
) -> int:
    """Return the oldest format whose readers understand the batch."""
    if options.rows is not None:
        return 3
    return 1 if expires_at and on_invalid != DEFAULT_ON_INVALID else 2


def cancel_batch(ledger: Ledger, batch_id: str) -> None:
    """Request that the batch stops; repeating the request is no error.

    Raises:
        ConflictError: it has ended, and not as cancelled.

    """
    state = ledger.state(batch_id)
    if state.is_terminal and state.status != "cancelled":
        message = f"Cannot cancel a batch with status '{state.status}'."
        hint = f"see how it ended with `batchchat status {batch_id}`"
        raise ConflictError(message, hint=hint)
    key = ledger.keys.batch(batch_id).cancel
    ledger.storage.create(key, records.encode(Cancel(ledger.now())))


def extend_batch(ledger: Ledger, batch_id: str, window: str) -> None:
    """Let the batch expire only when a completion window that begins now ends.

    Raises:
        ConflictError: it has ended.
        UsageError: the completion window is not valid.

    """
    state = ledger.state(batch_id)
    extension = Extension(expires_at=expiry(window, ledger.now()))
    if state.is_terminal:
        raise ConflictError(
            f"`{batch_id}` can't be extended: its status is {state.status}",
            hint=f"run the remaining requests with `batchchat retry {batch_id}`",
        )
    key = ledger.keys.batch(batch_id).extension
    ledger.storage.put(key, records.encode(extension))
