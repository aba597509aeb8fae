"""Delivers the results of an ended batch to its destination.

Each file appears there whole or not at all, under a name that contains the id of the
batch, and writing it again writes the same bytes. So this may be killed anywhere, and
repeated by any process::

    write the files                if killed, all of them are written again
    create delivery_receipt.json   from now on no process writes them
    leave the active index         if killed, the next sweep does it

A failed delivery is retried for a day at growing intervals, and then given up. The
results remain available as files of the project in any case.
"""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.errors import BatchchatError, ObjectMissingError, OutputError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import DeliveryAttempt, DeliveryReceipt
from batchchat.jobs.ledger.state import State
from batchchat.jobs.logs import event_fields
from batchchat.jobs.results.export import OutputPaths, results_for
from batchchat.jobs.results.joined_rows import outcome_of
from batchchat.jobs.storage import Storage
from batchchat.jobs.storage.file_adapter import WriterFile

log = logging.getLogger(__name__)

OpenDestination = Callable[[str], Storage]
"""Opens a destination. Raises `OutputError` if it is not allowed."""

_BACKOFF = Backoff(first=5, longest=600)
_GIVE_UP_AFTER_SECONDS = 86_400
"""How long after the end of a batch its delivery is retried."""


def is_due(state: State, now: int) -> bool:
    """Return whether the results of an ended batch should be delivered now."""
    if state.is_delivered:
        return False
    failed = state.delivery_attempt
    return failed is None or now >= failed.retry_at


def deliver(ledger: Ledger, state: State, open_destination: OpenDestination) -> None:
    """Write the results to the destination, then the delivery receipt.

    Raises:
        OutputError: they can never be written.
        BatchchatError: they could not be written this time.

    """
    batch = state.batch
    if batch.destination is None or state.is_delivered:
        return
    _check_files_exist(ledger, state)
    place, written = open_destination(batch.destination), []
    for path, write in results_for(ledger, state, _file_names(state)):
        with place.writer(path.name) as content:
            write(WriterFile(content))
        written.append(f"{place.url}/{path.name}")
    _record(ledger, batch.id, DeliveryReceipt(ledger.now(), written))
    log.info(
        "delivered %s",
        batch.id,
        extra=event_fields("batch_delivered", batch_id=batch.id),
    )


def attempt_delivery(
    ledger: Ledger, state: State, open_destination: OpenDestination
) -> None:
    """Deliver the results; if that fails, store the reason.

    Raises:
        StorageError: the reason could not be stored.

    """
    batch_id, final = state.batch.id, outcome_of(state)
    try:
        deliver(ledger, state, open_destination)
    except Exception as error:  # noqa: BLE001 - every reason is stored
        why = _reason(error)
        now = ledger.now()
        tries = 1 + (state.delivery_attempt.tries if state.delivery_attempt else 0)
        about_it = event_fields("delivery_failed", batch_id=batch_id, tries=tries)
        log.warning("delivery of %s failed: %s", batch_id, why, extra=about_it)
        if (
            isinstance(error, OutputError)
            or now - final.created_at > _GIVE_UP_AFTER_SECONDS
        ):
            _record(ledger, batch_id, DeliveryReceipt(now, error=why))
        else:
            key = ledger.keys.batch(batch_id).delivery_attempt
            retry_at = now + round(_BACKOFF.seconds(tries))
            failed = DeliveryAttempt(now, tries, why, retry_at)
            ledger.storage.put(key, records.encode(failed))


def _reason(error: Exception) -> str:
    """Return what went wrong, without the text of a bug, which may quote results."""
    if isinstance(error, BatchchatError):
        return error.message
    log.error(
        "bug in a delivery:\n%s", "".join(traceback.format_tb(error.__traceback__))
    )
    return f"internal error ({type(error).__name__}): this is a bug in batchchat"


def _record(ledger: Ledger, batch_id: str, receipt: DeliveryReceipt) -> None:
    ledger.storage.create(
        ledger.keys.batch(batch_id).delivery_receipt, records.encode(receipt)
    )


def _file_names(state: State) -> OutputPaths:
    """Return the file names at the destination, which contain the batch's id."""
    name = f"{state.batch.id}_"
    table = Path(f"{name}output.parquet")
    if state.batch.output_format == "parquet":
        return OutputPaths(None, None, table)
    wanted = table if state.batch.output_format == "both" else None
    return OutputPaths(Path(f"{name}output.jsonl"), Path(f"{name}error.jsonl"), wanted)


def _check_files_exist(ledger: Ledger, state: State) -> None:
    """Check that the result files still exist. Raises `OutputError`."""
    final = outcome_of(state)
    for file_id in filter(None, (final.output_file_id, final.error_file_id)):
        try:
            ledger.storage.size(ledger.keys.content(file_id))
        except ObjectMissingError:
            message = f"`{file_id}` was deleted before it was delivered"
            hint = "run the requests again: `batchchat submit FILE --output URL`"
            raise OutputError(message, hint=hint) from None
