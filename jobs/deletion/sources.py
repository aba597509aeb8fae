"""The batches whose results a batch reads, and the marks that it has made there."""

from batchchat.jobs.errors import CorruptObjectError, NewerFormatError, NotFoundError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch


def sources_of(ledger: Ledger, batch: Batch) -> tuple[str, ...]:
    """Return the ids of the batches that a batch reads, as far as they exist."""
    found = {*batch.reuse, *([batch.rows_of] if batch.rows_of else [])}
    needs_all = batch.merge or batch.rows_of is not None
    source = batch.retry_of if needs_all else None
    while source is not None:
        found.add(source)
        try:
            source = ledger.batch(source).retry_of
        except (CorruptObjectError, NewerFormatError, NotFoundError):
            break
    return tuple(sorted(found))


def remove_reader(ledger: Ledger, source_id: str, batch_id: str) -> None:
    """Remove the marks of a batch at one that it reads, and at that one's output."""
    ledger.storage.delete(ledger.keys.batch(source_id).reader(batch_id))
    try:
        final = ledger.outcome(source_id)
    except (CorruptObjectError, NewerFormatError):
        return
    if final is not None and final.output_file_id is not None:
        ledger.storage.delete(f"{ledger.keys.uses(final.output_file_id)}{batch_id}")
