"""The records of deletions: which batches are being deleted, or were.

The record is written first and names everything that belongs to the batch, so that any
process can finish a deletion that was interrupted. It stays for some days: it tells
that an id must not be used again, and what the batch cost.
"""

from contextlib import suppress
from decimal import Decimal

from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger


class Deletion(records.Record, frozen=True, kw_only=True):
    """`deletions/<batch>.json`: a batch that is being deleted, or was.

    `finished_at` is None until nothing is left of it.
    """

    created_at: int
    input_file_id: str | None
    keeps_input: bool = False
    file_ids: tuple[str, ...] = ()
    """The files with its results."""

    source_ids: tuple[str, ...] = ()
    """The batches whose results it reads."""

    estimated_cost: Decimal | None = None
    finished_at: int | None = None


def read_deletion(ledger: Ledger, batch_id: str) -> Deletion | None:
    """Return the record of a batch's deletion, None if there is none."""
    key = ledger.keys.deletion(batch_id)
    with suppress(ObjectMissingError):
        return records.decode(Deletion, ledger.storage.get(key), key)
    return None
