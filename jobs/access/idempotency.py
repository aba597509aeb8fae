"""Which batch a create has made, so that the same one sent again makes no second.

A client whose answer got lost sends its request again, and OpenAI's clients send no
key with it. What was asked, or the key that a careful client sends, is written down
with the batch's id before the batch is made: whoever comes again gets the same id,
also when the first one was killed in between.
"""

from hashlib import sha256
from threading import Lock
from typing import NamedTuple

import msgspec

from batchchat.jobs.errors import ConflictError, ObjectMissingError
from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger

KEY_SECONDS = 86_400
"""Seconds for which an Idempotency-Key is remembered."""

EXPLICIT_RETRY_SECONDS = 900
"""Seconds for which a create is known again when its client says that it retries."""

IMPLICIT_DEDUP_SECONDS = 10
"""The same when the client does not say whether it does."""

_SWEEP_STEP_SECONDS = 600

_locks = [Lock() for _ in range(64)]


class ReusedKeyError(ConflictError):
    """An Idempotency-Key came with another request before."""

    code = "idempotency_key_reused"


class IdempotencyRecord(msgspec.Struct, frozen=True):
    """The batch that a create request made, and the digest of that request."""

    batch_id: str
    digest: str
    created_at: int


class Reservation(NamedTuple):
    """The batch that a create is to make, and whether it has been asked before."""

    batch_id: str
    is_replay: bool


def reserve(
    ledger: Ledger, asked: bytes, *, key: str | None, seconds: int
) -> Reservation:
    """Return the id of the batch that `asked` makes.

    With a `key` it is the one of the same key, else that of the same request within
    `seconds`; with no seconds it is always a new one.

    Raises:
        ReusedKeyError: the key came with something else.

    """
    digest = sha256(asked).hexdigest()
    name = digest if key is None else sha256(b"key:" + key.encode()).hexdigest()
    where = ledger.keys.idempotency_record(name)
    now = ledger.now()
    with _lock_of(name):
        before = _read(ledger, where)
        lasts = KEY_SECONDS if key is not None else seconds
        if before is not None and now - before.created_at < lasts:
            return _replay(before, digest)
        sent = IdempotencyRecord(new_batch_id(), digest, now)
        if key is not None and before is None:
            if not ledger.storage.create(where, records.encode(sent)):
                other = _read(ledger, where)  # another server was first
                return _replay(other or sent, digest)
        else:
            ledger.storage.put(where, records.encode(sent))
    return Reservation(sent.batch_id, is_replay=False)


def remove_expired(ledger: Ledger) -> None:
    """Remove what is too old to be asked for: a sixteenth of it, by the time.

    Each record must be read to know its age, so one call reads only those whose name
    begins with the digit whose turn it is; the turn changes every ten minutes.
    """
    now = ledger.now()
    digit = f"{now // _SWEEP_STEP_SECONDS % 16:x}"
    for entry in list(ledger.storage.list(ledger.keys.idempotency_records() + digit)):
        name = entry.key.rpartition("/")[2]
        with _lock_of(name):
            sent = _read(ledger, entry.key)
            if sent is not None and now - sent.created_at > KEY_SECONDS:
                ledger.storage.delete(entry.key)


def _lock_of(name: str) -> Lock:
    return _locks[int(name[:8], 16) % len(_locks)]


def _replay(before: IdempotencyRecord, digest: str) -> Reservation:
    if before.digest != digest:
        message = "The Idempotency-Key was used for another request: make a new one."
        raise ReusedKeyError(message)
    return Reservation(before.batch_id, is_replay=True)


def _read(ledger: Ledger, where: str) -> IdempotencyRecord | None:
    try:
        return records.decode(IdempotencyRecord, ledger.storage.get(where), where)
    except ObjectMissingError:
        return None
