"""What becomes of a batch whose input was removed from the storage by hand.

The API deletes no file that a batch reads, but a bucket has other doors. Without its
input nothing more of the batch can be run and no custom_id be read. One that was not
planned is refused; one that runs ends as by a cancel, keeps what is finished, and has
an error line without custom_id for each request that can't be read any more.
"""

from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch, Cancel

INPUT_MISSING = "input_file_missing"
"""The code of what is said about it, and the reason of the cancel."""

MISSING_INPUT_MESSAGE = (
    "This request could not be executed: the input file was removed."
)

_VISIBILITY_DELAY_SECONDS = 60
"""Seconds in which a store may not show yet what was written."""


def input_is_missing(ledger: Ledger, batch: Batch) -> bool:
    """Say whether the input is gone for good. Raises `StorageError`."""
    if ledger.now() - batch.created_at <= _VISIBILITY_DELAY_SECONDS:
        return False
    try:
        ledger.storage.size(ledger.keys.content(batch.input_file_id))
    except ObjectMissingError:
        return True
    return False


def record_missing_input(ledger: Ledger, batch_id: str) -> None:
    """Write down that the batch is to end; the first wish counts."""
    wish = Cancel(ledger.now(), reason=INPUT_MISSING)
    ledger.storage.create(ledger.keys.batch(batch_id).cancel, records.encode(wish))
