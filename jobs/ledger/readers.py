"""Marks batches whose stored results another batch reads, so that they are kept.

A reader first writes its mark and then looks for a deletion; a deletion first writes
its record and then looks for readers. So one of the two notices the other.
"""

from collections.abc import Iterator

from batchchat.jobs.errors import (
    CorruptObjectError,
    NewerFormatError,
    NotFoundError,
    ObjectMissingError,
)
from batchchat.jobs.ids import id_created_at, is_batch_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.batch_listing import no_such_batch
from batchchat.jobs.ledger.deletions import read_deletion
from batchchat.jobs.ledger.ledger import Ledger

_CREATION_SECONDS = 3_600
"""Age up to which a reader without a record may still be created."""


class Reader(records.Record, frozen=True):
    """`readers/<reader>.json`: another batch reads the results of this one.

    It does so until it has ended, or `always`: its own results are not complete
    without these.
    """

    always: bool = False


def add_reader(
    ledger: Ledger, batch_id: str, reader_id: str, *, always: bool = False
) -> None:
    """Keep a batch for as long as another one reads its results; see `Reader`.

    Call this before a record of the reader refers to the batch. To repeat it is
    harmless.

    Raises:
        NotFoundError: there is no such batch, or it is being deleted.

    """
    keys = ledger.keys.batch(batch_id)
    mark = keys.reader(reader_id)
    ledger.storage.put(mark, records.encode(Reader(always)))
    is_stored = ledger.listing.is_stored(batch_id)
    if not is_stored or read_deletion(ledger, batch_id) is not None:
        ledger.storage.delete(mark)
        raise no_such_batch(batch_id)


def readers_of(ledger: Ledger, batch_id: str) -> Iterator[str]:
    """Yield the ids of the batches that still read the results of a batch."""
    top = ledger.keys.batch(batch_id).readers
    for entry in ledger.storage.list(top):
        reader_id = entry.key[len(top) :].removesuffix(".json")
        if is_batch_id(reader_id) and _still_reads(ledger, reader_id, entry.key):
            yield reader_id


def _still_reads(ledger: Ledger, reader_id: str, mark: str) -> bool:
    try:
        state = ledger.state(reader_id)
        if not state.is_terminal:
            return True
        return records.decode(Reader, ledger.storage.get(mark), mark).always
    except NotFoundError:
        if read_deletion(ledger, reader_id) is not None:
            return False
        return ledger.clock() - id_created_at(reader_id) < _CREATION_SECONDS
    except ObjectMissingError:  # the mark was removed
        return False
    except (CorruptObjectError, NewerFormatError):  # whether it has ended is unknown
        return True
