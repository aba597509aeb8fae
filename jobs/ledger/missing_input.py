"""Batches whose input file was removed from the storage by other means.

The API does not delete a file that a batch reads, but other tools may. Then no further
request can run, and no custom_id can be read. A batch without a plan fails. A running
batch is cancelled, keeps its finished results, and gets an error line without a
custom_id for each request that can't be read any more.
"""

from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch, Cancel
from batchchat.jobs.ledger.request_lines import request_lines_key

INPUT_MISSING = "input_file_missing"
"""The error code, and the reason of the cancellation."""

MISSING_INPUT_MESSAGE = (
    "This request could not be executed: the input file was removed."
)

_VISIBILITY_DELAY_SECONDS = 60
"""How long a storage may hide an object after it was written."""


def input_is_missing(ledger: Ledger, batch: Batch, key: str | None = None) -> bool:
    """Return whether the batch's request lines, or else `key`, no longer exist.

    Raises:
        StorageError: the storage can't be read.

    """
    if ledger.now() - batch.created_at <= _VISIBILITY_DELAY_SECONDS:
        return False
    try:
        ledger.storage.size(key or request_lines_key(ledger.keys, batch))
    except ObjectMissingError:
        return True
    return False


def record_missing_input(ledger: Ledger, batch_id: str) -> None:
    """Request the cancellation of a batch; an earlier request takes precedence."""
    request = Cancel(ledger.now(), reason=INPUT_MISSING)
    ledger.storage.create(ledger.keys.batch(batch_id).cancel, records.encode(request))
