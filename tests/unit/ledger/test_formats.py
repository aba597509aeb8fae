"""Stored examples of every record, which all later versions must be able to read.

Never change an example. A new format of a record gets a folder of its own here.
"""

import json
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import batchchat.jobs
from batchchat.jobs.access.api_keys import ApiKey, LastUse, Revocation
from batchchat.jobs.access.idempotency import IdempotencyRecord
from batchchat.jobs.errors import CorruptObjectError, NewerFormatError
from batchchat.jobs.execution.crash_bisection import AttemptMarker
from batchchat.jobs.files.files import DeletionMark
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.active_index import ActiveBatch
from batchchat.jobs.ledger.checkpoint import CheckpointHeader, pack, read_header, unpack
from batchchat.jobs.ledger.deletions import Deletion
from batchchat.jobs.ledger.partial_turns import PartialTurns
from batchchat.jobs.ledger.readers import Reader
from batchchat.jobs.ledger.records import (
    Batch,
    Cancel,
    Commit,
    DeliveryAttempt,
    DeliveryReceipt,
    Extension,
    File,
    Outcome,
    Plan,
    Record,
)
from batchchat.jobs.reuse.answer_index import IndexHeader
from batchchat.jobs.webhooks.endpoints import Endpoint
from batchchat.jobs.webhooks.outbox import Attempt

DATA = Path(__file__).parent / "data"
KINDS: dict[str, Any] = {
    "active_batch": ActiveBatch,
    "answer_index": IndexHeader,
    "api_key": ApiKey,
    "api_key_last_use": LastUse,
    "api_key_revoked": Revocation,
    "attempt_marker": AttemptMarker,
    "batch": Batch,
    "cancel": Cancel,
    "commit": Commit,
    "deleted": DeletionMark,
    "deletion": Deletion,
    "delivery_attempt": DeliveryAttempt,
    "delivery_receipt": DeliveryReceipt,
    "extension": Extension,
    "file": File,
    "final": Outcome,
    "idempotency_record": IdempotencyRecord,
    "marker": Record,
    "partial_turns": PartialTurns,
    "plan": Plan,
    "reader": Reader,
    "webhook_attempt": Attempt,
    "webhook_endpoint": Endpoint,
}
CHECKPOINT = DATA / "format_1" / "checkpoint.jsonl"


def example(name):
    return (DATA / "format_1" / f"{name}.json").read_bytes()


def contains(new, old):
    """Return whether `new` has all that `old` has; it may have more fields."""
    if isinstance(old, dict):
        return all(key in new and contains(new[key], old[key]) for key in old)
    if isinstance(old, list):
        pairs = zip(new, old, strict=False)
        return len(new) >= len(old) and all(contains(*pair) for pair in pairs)
    return bool(new == old)


def test_every_record_has_an_example():
    for module in pkgutil.walk_packages(batchchat.jobs.__path__, "batchchat.jobs."):
        import_module(module.name)
    defined = {Record, *Record.__subclasses__(), Batch} - {CheckpointHeader}
    assert defined == set(KINDS.values())
    files = {path.stem for path in (DATA / "format_1").glob("*.json")}
    assert files == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_format_1_is_read_without_loss(name):
    record = records.decode(KINDS[name], example(name), name)
    assert record.format == 1
    written = json.loads(records.encode(record))
    assert contains(written, json.loads(example(name)))


def test_format_2_of_a_batch_is_read_without_loss():
    data = (DATA / "format_2" / "batch.json").read_bytes()
    record = records.decode(Batch, data, "batch")
    assert (record.format, record.expires_at) == (2, None)
    assert contains(json.loads(records.encode(record)), json.loads(data))


def test_format_3_of_a_batch_is_read_without_loss():
    data = (DATA / "format_3" / "batch.json").read_bytes()
    record = records.decode(Batch, data, "batch")
    assert record.format == 3
    assert record.rows
    assert record.rows.samples == 3
    assert contains(json.loads(records.encode(record)), json.loads(data))


def test_format_2_of_an_api_key_is_read_without_loss():
    data = (DATA / "format_2" / "api_key.json").read_bytes()
    record = records.decode(ApiKey, data, "key")
    assert (record.format, record.expires_at) == (2, 1795279972)
    assert contains(json.loads(records.encode(record)), json.loads(data))


def test_format_2_of_an_outcome_is_read_without_loss():
    data = (DATA / "format_2" / "final.json").read_bytes()
    record = records.decode(records.Outcome, data, "final")
    assert (record.format, record.estimated_cost) == (2, None)
    assert contains(json.loads(records.encode(record)), json.loads(data))


@pytest.mark.parametrize("name", KINDS)
def test_unknown_fields_are_skipped(name):
    stored = json.loads(example(name)) | {"from_the_future": [1, {"a": None}]}
    record = records.decode(KINDS[name], json.dumps(stored).encode(), name)
    assert record == records.decode(KINDS[name], example(name), name)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("other", [True, False], ids=["other fields", "same fields"])
def test_a_newer_format_is_rejected_and_not_called_corrupt(name, other):
    stored = {"all": "new"} if other else json.loads(example(name))
    newest = {"api_key": 2, "batch": 3, "final": 2}
    data = json.dumps(stored | {"format": 9}).encode()
    with pytest.raises(NewerFormatError) as caught:
        records.decode(KINDS[name], data, f"some/{name}.json")
    assert caught.value.message == (
        f"`some/{name}.json` has format 9, and this version of batchchat reads formats"
        f" up to {newest.get(name, 1)}"
    )
    assert caught.value.hint == "upgrade batchchat on this machine"
    assert not caught.value.retryable


@pytest.mark.parametrize("wrong", [0, -1, "2", None, 1.5])
def test_an_impossible_format_is_corrupt(wrong):
    data = json.dumps({"created_at": 1, "format": wrong}).encode()
    with pytest.raises(CorruptObjectError):
        records.decode(Cancel, data, "cancel.json")


def test_a_checkpoint_of_format_1_is_read_without_loss():
    data = CHECKPOINT.read_bytes()
    assert read_header(data).format == 1
    assert pack(unpack(data, "a"), read_header(data).engines).data == data


def test_a_checkpoint_of_a_newer_format_is_rejected():
    header, _, body = CHECKPOINT.read_bytes().partition(b"\n")
    data = header.replace(b'"format":1', b'"format":2') + b"\n" + body
    with pytest.raises(NewerFormatError):
        unpack(data, "a")
