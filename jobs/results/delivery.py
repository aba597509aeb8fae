"""Brings the results of an ended batch to the destination that was asked for.

The batch has ended before, and nothing here changes that. Each file appears there
whole or not at all, under a name that no other batch's has, and a second writing
brings the same bytes; so this may be killed anywhere and done again by anybody::

    write the files      killed here: some may be there; all are written again
    delivery_receipt.json       create-once; from here on nobody writes
    leave the index      killed before: the next look does it

What fails is tried again at growing intervals for a day, then given up; the results
are kept as files of the project whatever becomes of it.
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
"""Opens a destination. Raises `OutputError` where results may not go there."""

_BACKOFF = Backoff(first=5, longest=600)
_GIVE_UP_AFTER_SECONDS = 86_400
"""Seconds after a batch's end for which its delivery is tried."""


def is_due(state: State, now: int) -> bool:
    """Say whether the results of an ended batch are to be delivered now."""
    if state.is_delivered:
        return False
    failed = state.delivery_attempt
    return failed is None or now >= failed.retry_at


def deliver(ledger: Ledger, state: State, open_destination: OpenDestination) -> None:
    """Write the results to the batch's destination, and note that they are there.

    Raises:
        OutputError: they never can be written.
        BatchchatError: they could not be written now.

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
        "%s is delivered",
        batch.id,
        extra=event_fields("batch_delivered", batch_id=batch.id),
    )


def attempt_delivery(
    ledger: Ledger, state: State, open_destination: OpenDestination
) -> None:
    """Do that, and note why where it fails. Raises `StorageError` if that fails too."""
    batch_id, final = state.batch.id, outcome_of(state)
    try:
        deliver(ledger, state, open_destination)
    except Exception as error:  # noqa: BLE001 - it is noted, whatever it is
        why = _reason(error)
        now = ledger.now()
        tries = 1 + (state.delivery_attempt.tries if state.delivery_attempt else 0)
        about_it = event_fields("delivery_failed", batch_id=batch_id, tries=tries)
        log.warning("%s is not delivered: %s", batch_id, why, extra=about_it)
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
    """Say what went wrong; what a bug says may hold what is in the results."""
    if isinstance(error, BatchchatError):
        return error.message
    log.error("a bug:\n%s", "".join(traceback.format_tb(error.__traceback__)))
    return f"batchchat has a bug that this met ({type(error).__name__})"


def _record(ledger: Ledger, batch_id: str, how: DeliveryReceipt) -> None:
    ledger.storage.create(
        ledger.keys.batch(batch_id).delivery_receipt, records.encode(how)
    )


def _file_names(state: State) -> OutputPaths:
    """Return the names at the destination, which are those of the batch's files."""
    name = f"{state.batch.id}_"
    table = Path(f"{name}output.parquet")
    if state.batch.output_format == "parquet":
        return OutputPaths(None, None, table)
    wanted = table if state.batch.output_format == "both" else None
    return OutputPaths(Path(f"{name}output.jsonl"), Path(f"{name}error.jsonl"), wanted)


def _check_files_exist(ledger: Ledger, state: State) -> None:
    """See that nobody has deleted what is to be delivered. Raises `OutputError`."""
    final = outcome_of(state)
    for file_id in filter(None, (final.output_file_id, final.error_file_id)):
        try:
            ledger.storage.size(ledger.keys.content(file_id))
        except ObjectMissingError:
            message = f"`{file_id}` was deleted before it was delivered"
            raise OutputError(message) from None
