"""Deletes the batches that ended a certain time ago."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import NamedTuple

from batchchat.jobs.deletion.conditions import ended
from batchchat.jobs.deletion.deletion import Deleter, Removal
from batchchat.jobs.errors import (
    ConflictError,
    CorruptObjectError,
    NewerFormatError,
    NotFoundError,
)
from batchchat.jobs.ids import smallest_id_at
from batchchat.jobs.ledger.ledger import Ledger

_CONCURRENT_READS = 16


class Kept(NamedTuple):
    """An old batch that is not deleted, and why."""

    batch_id: str
    reason: str


def prune(
    ledger: Ledger, before: int, *, keep_input: bool = False, dry_run: bool = False
) -> Iterator[Removal | Kept]:
    """Delete the batches that ended and were delivered before a time in Unix seconds.

    Yields what each deletion removed. The newest come first: a retry with `--merge`
    before the batch whose results it needs. With `dry_run` nothing is deleted.
    """
    deleter = Deleter(ledger)
    act = deleter.preview if dry_run else deleter.delete
    for batch_id in _ended_before(ledger, before):
        try:
            yield act(batch_id, keep_input=keep_input)
        except ConflictError as error:
            yield Kept(batch_id, error.message)
        except NotFoundError:  # another process has just deleted it
            continue


def _ended_before(ledger: Ledger, before: int) -> Iterator[str]:
    ids = ledger.batch_ids(smallest_id_at("batch", before))
    has_ended = partial(_has_ended_before, ledger, before)
    with ThreadPoolExecutor(_CONCURRENT_READS) as pool:
        while some := list(islice(ids, 8 * _CONCURRENT_READS)):
            found = zip(some, pool.map(has_ended, some), strict=True)
            yield from (batch_id for batch_id, is_old in found if is_old)


def _has_ended_before(ledger: Ledger, before: int, batch_id: str) -> bool:
    """Return whether a batch is old enough; a batch that cannot be read is not."""
    try:
        final = ledger.outcome(batch_id)
        if final is not None and final.created_at > before:
            return False
        state = ledger.state(batch_id)
    except (CorruptObjectError, NewerFormatError, NotFoundError):
        return False
    return state.is_terminal and state.is_delivered and ended(state) <= before
