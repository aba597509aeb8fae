"""What is done about a record that can't be read: torn, altered, or another's.

It is put aside, and from then on it is as if nobody had written it. What follows is
the ordinary way on::

    commits/…        the shard is run again; what its checkpoints have is not
    plan.json        the input is planned anew, see `fits`
    final.json       the batch is ended again, from its commits
    delivery_receipt.json   the results are brought to their destination again
    cancel.json      stays where it is: that there is one says all (`Ledger.cancel`)
    batch.json       nobody knows what was asked, and nothing goes on

Two at once do no harm: whoever puts a good record aside, which another has just
written, has it made once more from the same checkpoints.
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

_THEN: dict[type[records.HasFormat], str] = {
    Commit: "the shard is run again from its checkpoints",
    Plan: "the input is planned again",
    Outcome: "the batch is ended again",
    DeliveryReceipt: "the results are delivered again",
    DeliveryAttempt: "the delivery is tried again",
}


def quarantine_corrupt_records(ledger: Ledger, state: State) -> State:
    """Put aside what can't be read of a batch; return where it stands then.

    The plan of one that has ended stays: nobody needs it to end the batch.
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
            "%s; it is put aside as `%s`, and %s",
            error,
            aside,
            _THEN[kind],
            extra=event_fields("record_damaged", batch_id=batch_id),
        )


def has_shard_results(ledger: Ledger, batch_id: str) -> bool:
    """Say whether attempts at a batch's shards have left anything."""
    shards = ledger.storage.folders(ledger.keys.batch(batch_id).shards)
    return next(iter(shards), None) is not None


def plan_matches_stored_results(ledger: Ledger, batch: Batch, plan: Plan) -> bool:
    """Say whether all that is stored of a batch lies where `plan` has it.

    A plan follows from the input and the settings. If the settings have changed since
    one that is lost was made, its shards were others, and what was stored by them
    would be taken for other lines. Holds the results of one shard.
    """
    keys = ledger.keys.batch(batch.id)
    shards = {f"{shard.index:05d}": shard for shard in plan.shards}
    is_ending = ledger.cancel(batch.id) or ledger.now() >= batch.expires_at
    return all(
        name in shards
        and _shard_matches(ledger, keys, shards[name], may_be_short=bool(is_ending))
        for name in ledger.storage.folders(keys.shards)
    )


def _shard_matches(
    ledger: Ledger, keys: BatchKeys, shard: Shard, *, may_be_short: bool
) -> bool:
    """Say whether what is stored of a shard is of its lines, and all if committed."""
    lines = range(shard.first_line, shard.first_line + shard.lines)
    kept = recover(ledger.storage, keys, shard.index)
    commit = ledger.commit(keys, shard.index)
    is_whole = commit is None or commit.counts.total == shard.requests
    return kept.lines.issubset(lines) and (is_whole or may_be_short)
