"""Idempotent creation of batches: a repeated request creates no second batch.

A client that did not receive the response sends its request again, and OpenAI's
clients send no idempotency key with it. So the digest of each request, or of its
`Idempotency-Key`, is stored with the batch's id before the batch is created. A
repeated request gets the same id, even if the first one was killed in between.
"""

from hashlib import sha256
from threading import Lock
from typing import NamedTuple

from batchchat.jobs.errors import ConflictError, NewerFormatError, ObjectMissingError
from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.deletions import read_deletion
from batchchat.jobs.ledger.ledger import Ledger

KEY_SECONDS = 86_400
"""How long an `Idempotency-Key` is remembered."""

EXPLICIT_RETRY_SECONDS = 900
"""How long a request is remembered for clients that mark retries."""

IMPLICIT_DEDUP_SECONDS = 10
"""How long a request is remembered for clients that do not mark retries."""

_SWEEP_STEP_SECONDS = 600

_locks = [Lock() for _ in range(64)]


class ReusedKeyError(ConflictError):
    """An `Idempotency-Key` was already used for a different request."""

    code = "idempotency_key_reused"


class IdempotencyRecord(records.Record, frozen=True):
    """The batch that a create request made, and the digest of that request."""

    batch_id: str
    digest: str
    created_at: int


class Reservation(NamedTuple):
    """The id of the batch to create; if `is_replay`, it was reserved before."""

    batch_id: str
    is_replay: bool


def reserve(
    ledger: Ledger, request: bytes, *, key: str | None, seconds: int
) -> Reservation:
    """Reserve the id of the batch that `request` creates.

    With a `key`, requests with the same key get the same id. Otherwise identical
    requests within `seconds` do; with 0 seconds the id is always new. The id of a batch
    that was deleted is not reserved again.

    Raises:
        ReusedKeyError: the key was used for a different request.

    """
    digest = sha256(request).hexdigest()
    name = digest if key is None else sha256(b"key:" + key.encode()).hexdigest()
    record_key = ledger.keys.idempotency_record(name)
    now = ledger.now()
    lifetime = KEY_SECONDS if key is not None else seconds
    with _lock_of(name):
        earlier = _read(ledger, record_key)
        if (
            earlier is not None
            and now - earlier.created_at < lifetime
            and read_deletion(ledger, earlier.batch_id) is None
        ):
            return _replay(earlier, digest)
        record = IdempotencyRecord(new_batch_id(), digest, now)
        if key is not None and earlier is None:
            if not ledger.storage.create(record_key, records.encode(record)):
                winner = _read(ledger, record_key)  # another server was faster
                return _replay(winner or record, digest)
        else:
            ledger.storage.put(record_key, records.encode(record))
    return Reservation(record.batch_id, is_replay=False)


def remove_expired(ledger: Ledger) -> None:
    """Remove a sixteenth of the expired records, another one every ten minutes.

    A record must be read to know its age. So one call reads only the records whose
    name begins with a certain hex digit, which the time determines.
    """
    now = ledger.now()
    digit = f"{now // _SWEEP_STEP_SECONDS % 16:x}"
    for entry in list(ledger.storage.list(ledger.keys.idempotency_records() + digit)):
        name = entry.key.rpartition("/")[2]
        with _lock_of(name):
            try:
                record = _read(ledger, entry.key)
            except NewerFormatError:
                continue
            if record is not None and now - record.created_at > KEY_SECONDS:
                ledger.storage.delete(entry.key)


def _lock_of(name: str) -> Lock:
    return _locks[int(name[:8], 16) % len(_locks)]


def _replay(earlier: IdempotencyRecord, digest: str) -> Reservation:
    if earlier.digest != digest:
        message = "The Idempotency-Key was already used for a different request."
        raise ReusedKeyError(message, hint="use a new key for each request")
    return Reservation(earlier.batch_id, is_replay=True)


def _read(ledger: Ledger, record_key: str) -> IdempotencyRecord | None:
    try:
        data = ledger.storage.get(record_key)
        return records.decode(IdempotencyRecord, data, record_key)
    except ObjectMissingError:
        return None
