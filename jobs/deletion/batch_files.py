"""The files of a batch: its input and its results.

Other batches may read a file, too, and then it stays. A new reader writes its mark and
then looks whether the file is marked as deleted; a removal does the opposite.
"""

from collections.abc import Iterator
from itertools import islice

from batchchat.jobs.errors import CorruptObjectError, NewerFormatError, NotFoundError
from batchchat.jobs.files.files import DeletionMark
from batchchat.jobs.ids import id_created_at, is_batch_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger

_CHUNK = 1_000
_CREATION_SECONDS = 3_600
"""Age up to which a batch without a record may still be created."""


def is_shared(ledger: Ledger, file_id: str, batch_id: str) -> bool:
    """Return whether another batch reads the file."""
    top = ledger.keys.uses(file_id)
    others = (entry.key[len(top) :] for entry in ledger.storage.list(top))
    return any(
        other != batch_id and is_batch_id(other) and _needs(ledger, other, file_id)
        for other in others
    )


def remove_file(ledger: Ledger, file_id: str, batch_id: str) -> None:
    """Remove a file of a batch that no longer exists, unless another one reads it."""
    storage, keys = ledger.storage, ledger.keys
    storage.delete(f"{keys.uses(file_id)}{batch_id}")
    if is_shared(ledger, file_id, batch_id):
        return
    mark = keys.deleted(file_id)
    storage.create(mark, records.encode(DeletionMark(ledger.now())))
    if is_shared(ledger, file_id, batch_id):
        storage.delete(mark)
        return
    storage.delete(keys.content(file_id))
    remove_all(ledger, folder_of(ledger, file_id))


def folder_of(ledger: Ledger, file_id: str) -> str:
    """Return the prefix of everything that is stored of a file."""
    return ledger.keys.content(file_id).removesuffix("content")


def remove_all(ledger: Ledger, prefix: str) -> None:
    """Remove all objects whose key begins with `prefix`."""
    found = (entry.key for entry in ledger.storage.list(prefix))
    for some in _chunks(found):
        ledger.storage.delete_all(some)


def _chunks(keys: Iterator[str]) -> Iterator[list[str]]:
    return iter(lambda: list(islice(keys, _CHUNK)), [])


def _needs(ledger: Ledger, batch_id: str, file_id: str) -> bool:
    """Return whether a batch has the file as its input, or may still read it."""
    try:
        if not ledger.listing.is_stored(batch_id):
            return ledger.clock() - id_created_at(batch_id) < _CREATION_SECONDS
        is_input = ledger.batch(batch_id).input_file_id == file_id
        return is_input or not ledger.state(batch_id).is_terminal
    except NotFoundError:
        return False
    except (CorruptObjectError, NewerFormatError):  # what it reads is unknown
        return True
