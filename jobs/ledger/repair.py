"""Quarantines corrupt records, which are truncated, altered, or something else.

A corrupt record is moved aside. Then the batch continues as if it had not been
written::

    commits/…              the shard runs again; its checkpointed results are kept
    plan.json              the input is planned again
    final.json             the batch is ended again, from its commits
    delivery_receipt.json  the results are delivered again
    cancel.json            stays: that the object exists says enough
    batch.json             can't be repaired, so the batch stops

Two processes may do this at once. If one of them moves aside a record that the other
one has just rewritten, it is written once more from the same checkpoints.
"""

import logging

from batchchat.jobs.errors import CorruptObjectError, ObjectMissingError
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.keys import BatchKeys
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import (
    Batch,
    Commit,
    DeliveryAttempt,
    DeliveryReceipt,
    Outcome,
    Plan,
    Shard,
)
from batchchat.jobs.ledger.recovery import recover
from batchchat.jobs.ledger.state import State
from batchchat.jobs.logs import event_fields

log = logging.getLogger(__name__)

_CONSEQUENCES: dict[type[records.HasFormat], str] = {
    Commit: "the shard runs again from its checkpoints",
    Plan: "the input is planned again",
    Outcome: "the batch is ended again",
    DeliveryReceipt: "the results are delivered again",
    DeliveryAttempt: "the delivery is retried",
}


def quarantine_corrupt_records(ledger: Ledger, state: State) -> State:
    """Quarantine the corrupt records of a batch; return its state after that.

    A corrupt plan of an ended batch stays, since it is no longer needed.
    """
    corrupt = dict(state.corrupt)
    if state.final is not None:
        corrupt.pop(ledger.keys.batch(state.batch.id).plan, None)
    for key, kind in corrupt.items():
        _quarantine(ledger, state.batch.id, key, kind)
    return ledger.state(state.batch.id) if corrupt else state


def _quarantine(
    ledger: Ledger, batch_id: str, key: str, kind: type[records.HasFormat]
) -> None:
    storage = ledger.storage
    aside = ledger.keys.batch(batch_id).quarantined(key)
    try:
        data = b"".join(storage.stream(key))
        records.decode(kind, data, key)  # another process may have repaired it by now
    except ObjectMissingError:
        return
    except CorruptObjectError as error:
        storage.put(aside, data)
        storage.delete(key)
        log.warning(
            "%s; moved to `%s`, and %s",
            error,
            aside,
            _CONSEQUENCES[kind],
            extra=event_fields("record_corrupt", batch_id=batch_id),
        )


def has_shard_results(ledger: Ledger, batch_id: str) -> bool:
    """Return whether attempts at the batch's shards have stored anything."""
    shards = ledger.storage.folders(ledger.keys.batch(batch_id).shards)
    return next(iter(shards), None) is not None


def plan_matches_stored_results(ledger: Ledger, batch: Batch, plan: Plan) -> bool:
    """Return whether all stored results of a batch fit the shards of `plan`.

    A plan follows from the input and the settings. If the settings have changed since a
    lost plan was made, its shards were different, and results that were stored for them
    would be assigned to other lines. Holds the results of one shard in memory.
    """
    keys = ledger.keys.batch(batch.id)
    shards = {f"{shard.index:05d}": shard for shard in plan.shards}
    stored = list(ledger.storage.folders(keys.shards))
    if not stored:
        return True
    has_expired = batch.expires_at is not None and ledger.now() >= batch.expires_at
    is_ending = has_expired or ledger.cancel(batch.id) is not None
    return all(
        name in shards
        and _shard_matches(ledger, keys, shards[name], may_be_short=is_ending)
        for name in stored
    )


def _shard_matches(
    ledger: Ledger, keys: BatchKeys, shard: Shard, *, may_be_short: bool
) -> bool:
    """Return whether the results are of the shard's lines, and all if committed."""
    kept = recover(ledger.storage, keys, shard.index)
    commit = ledger.commit(keys, shard.index)
    is_whole = commit is None or commit.counts.total == shard.requests
    return kept.lines.issubset(shard.line_numbers) and (is_whole or may_be_short)
