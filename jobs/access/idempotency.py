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
from batchchat.jobs.ledger import records as record
from batchchat.jobs.ledger.ledger import Ledger

KEY_SECONDS = 86_400
"""Seconds for which an Idempotency-Key is remembered."""

RETRY_SECONDS = 900
"""Seconds for which a create is known again when its client says that it retries."""

RESEND_SECONDS = 10
"""The same when the client does not say whether it does."""

_TURN = 600

_locks = [Lock() for _ in range(64)]


class ReusedKeyError(ConflictError):
    """An Idempotency-Key came with another request before."""

    code = "idempotency_key_reused"


class _Sent(msgspec.Struct, frozen=True):
    batch_id: str
    digest: str
    created_at: int


class Claim(NamedTuple):
    """The batch that a create is to make, and whether it has been asked before."""

    batch_id: str
    again: bool


def claim(ledger: Ledger, asked: bytes, *, key: str | None, seconds: int) -> Claim:
    """Return the id of the batch that `asked` makes.

    With a `key` it is the one of the same key, else that of the same request within
    `seconds`; with no seconds it is always a new one.

    Raises:
        ReusedKeyError: the key came with something else.

    """
    digest = sha256(asked).hexdigest()
    name = digest if key is None else sha256(b"key:" + key.encode()).hexdigest()
    where = ledger.keys.sent(name)
    now = ledger.now()
    with _lock_of(name):
        before = _read(ledger, where)
        lasts = KEY_SECONDS if key is not None else seconds
        if before is not None and now - before.created_at < lasts:
            return _same(before, digest)
        sent = _Sent(new_batch_id(), digest, now)
        if key is not None and before is None:
            if not ledger.storage.create(where, record.encode(sent)):
                other = _read(ledger, where)  # another server was first
                return _same(other or sent, digest)
        else:
            ledger.storage.put(where, record.encode(sent))
    return Claim(sent.batch_id, again=False)


def sweep(ledger: Ledger) -> None:
    """Remove what is too old to be asked for: a sixteenth of it, by the time.

    Each record must be read to know its age, so one call reads only those whose name
    begins with the digit whose turn it is; the turn changes every ten minutes.
    """
    now = ledger.now()
    digit = f"{now // _TURN % 16:x}"
    for entry in list(ledger.storage.list(ledger.keys.all_sent() + digit)):
        name = entry.key.rpartition("/")[2]
        with _lock_of(name):
            sent = _read(ledger, entry.key)
            if sent is not None and now - sent.created_at > KEY_SECONDS:
                ledger.storage.delete(entry.key)


def _lock_of(name: str) -> Lock:
    return _locks[int(name[:8], 16) % len(_locks)]


def _same(before: _Sent, digest: str) -> Claim:
    if before.digest != digest:
        message = "The Idempotency-Key was used for another request: make a new one."
        raise ReusedKeyError(message)
    return Claim(before.batch_id, again=True)


def _read(ledger: Ledger, where: str) -> _Sent | None:
    try:
        return record.decode(_Sent, ledger.storage.get(where), where)
    except ObjectMissingError:
        return None
