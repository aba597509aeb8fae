"""An old process does not touch what a newer version of batchchat has written."""

import json
from functools import partial

import pytest

from batchchat.jobs.access.idempotency import remove_expired, reserve
from batchchat.jobs.errors import ConflictError, NewerFormatError
from batchchat.jobs.files.files import Files
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.repair import quarantine_corrupt_records
from batchchat.jobs.ledger.submission import cancel_batch
from batchchat.jobs.results.finalize import finalize, read_results
from batchchat.workers.broker.messages import FINALIZE, WorkMessage
from tests.support.ended import Hand, bare
from tests.support.mortal_storage import Killed, Mortal
from tests.support.running import Bench, lines
from tests.unit.workers.test_controller import do
from tests.unit.workers.test_dispatcher import Desk

RECORDS = ["batch", "plan", "cancel", "final", "delivery_receipt", "delivery_attempt"]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def hand():
    return Hand()


def make_newer(storage, key):
    """Let a stored record be one of the next format, or create such a record."""
    try:
        header, newline, rest = storage.get(key).partition(b"\n")
        stored = json.loads(header)
    except LookupError:
        stored, newline, rest = {}, b"", b""
    newer = json.dumps(stored | {"format": 9}).encode()
    storage.put(key, newer + newline + rest)


def snapshot(storage):
    return {entry.key: storage.get(entry.key) for entry in storage.list("")}


def half_run(bench):
    """Return a batch that was killed with some shards committed and some begun."""
    batch_id = bench.submit(lines(25))
    with pytest.raises(Killed):
        bench.run(batch_id, Mortal(bench.storage, 9, after=True))
    return batch_id


@pytest.mark.parametrize("name", RECORDS)
def test_a_newer_record_is_not_quarantined(hand, name):
    batch_id = hand.submit(bare("a"), destination="s3://bucket/x")
    hand.run(batch_id)
    hand.finalize(batch_id)
    if name == "cancel":
        hand.storage.delete(hand.ledger.keys.batch(batch_id).final)
    key = getattr(hand.ledger.keys.batch(batch_id), name)
    hand.storage.put(key, b'{"format":9}')
    before = snapshot(hand.storage)
    with pytest.raises(NewerFormatError, match="has format 9"):
        quarantine_corrupt_records(hand.ledger, hand.ledger.state(batch_id))
    assert snapshot(hand.storage) == before


def test_a_newer_commit_is_not_quarantined(hand):
    batch_id = hand.submit(bare("a"))
    hand.run(batch_id)
    make_newer(hand.storage, hand.ledger.keys.batch(batch_id).commit(0))
    with pytest.raises(NewerFormatError):
        hand.ledger.state(batch_id)


def test_a_newer_batch_is_left_out_of_a_listing(hand):
    first, second = hand.submit(bare("a")), hand.submit(bare("a"))
    make_newer(hand.storage, hand.ledger.keys.batch(first).batch)
    assert [batch.id for batch in hand.ledger.batches()] == [second]


@pytest.mark.parametrize("part", ["checkpoint", "attempt_marker", "partial_turns"])
def test_a_run_leaves_a_batch_with_newer_objects_as_it_is(bench, part):
    batch_id = half_run(bench)
    keys = bench.ledger.keys.batch(batch_id)
    for shard in range(4):
        key = {
            "checkpoint": keys.checkpoint(shard, "0" * 32, 0),
            "attempt_marker": keys.attempt_marker(shard, "0" * 32),
            "partial_turns": keys.partial_turns(shard, "0" * 32, 0),
        }[part]
        bench.storage.put(key, b'{"format":9}\n')
    commits = {entry.key for entry in bench.storage.list(keys.commits)}
    with pytest.raises(NewerFormatError):
        bench.run(batch_id)
    assert {entry.key for entry in bench.storage.list(keys.commits)} == commits
    assert key in snapshot(bench.storage)


def test_results_in_a_newer_format_do_not_count_as_lost(hand):
    batch_id = hand.submit(bare("a"))
    hand.run(batch_id)
    commit = hand.ledger.commit(hand.ledger.keys.batch(batch_id), 0)
    make_newer(hand.storage, commit.parts[0].key)
    with pytest.raises(NewerFormatError):
        read_results(hand.ledger, commit)
    with pytest.raises(NewerFormatError):
        finalize(hand.ledger, batch_id, "completed")
    assert hand.ledger.outcome(batch_id) is None


def test_a_dispatcher_leaves_a_newer_batch_alone_and_logs_it_once(desk, caplog):
    newer, good = desk.submit(2), desk.submit(2)
    key = desk.ledger.keys.batch(newer).plan
    make_newer(desk.hand.storage, key)
    before = snapshot(desk.hand.storage)
    assert {message.batch_id for message in desk.sweep()} == {good}
    for _ in range(3):
        desk.sweep(61.0)
    assert snapshot(desk.hand.storage) == before
    logged = [record for record in caplog.records if newer in record.getMessage()]
    assert len(logged) == 1
    assert "has format 9" in logged[0].getMessage()


def test_a_controller_leaves_a_newer_batch_alone_and_logs_it_once(hand, caplog):
    batch_id = hand.submit(bare("a"))
    hand.run(batch_id)
    commit = hand.ledger.commit(hand.ledger.keys.batch(batch_id), 0)
    make_newer(hand.storage, commit.parts[0].key)
    before = snapshot(hand.storage)
    state = do(hand, RuntimeError(), batch_id, FINALIZE, FINALIZE, FINALIZE)
    assert not state.is_terminal
    assert snapshot(hand.storage) == before
    message = WorkMessage("default", batch_id, FINALIZE).name
    assert sum(message in record.getMessage() for record in caplog.records) == 1


def test_the_input_of_a_newer_batch_is_not_deleted(hand):
    batch_id = hand.submit(bare("a"))
    ledger = hand.ledger
    file_id = ledger.batch(batch_id).input_file_id
    Files(ledger).use(file_id, batch_id)
    make_newer(hand.storage, ledger.keys.batch(batch_id).batch)
    with pytest.raises(ConflictError):
        Files(hand.ledger).delete(file_id)
    assert Files(hand.ledger).get(file_id).id == file_id


def test_a_sweep_skips_files_of_a_newer_version(hand):
    kept, expired = (
        records.File(
            id=f"file_{digit * 32}",
            bytes=1,
            created_at=1,
            filename="a",
            purpose="batch",
            expires_at=2,
        )
        for digit in "01"
    )
    for file in (kept, expired):
        hand.storage.put(hand.ledger.keys.content(file.id), b"x")
        hand.storage.put(hand.ledger.keys.file(file.id), records.encode(file))
    make_newer(hand.storage, hand.ledger.keys.file(kept.id))
    Files(hand.ledger).sweep()
    keys = snapshot(hand.storage)
    assert hand.ledger.keys.content(kept.id) in keys
    assert hand.ledger.keys.content(expired.id) not in keys


def test_orphans_are_kept_while_the_end_of_a_batch_is_unknown(hand):
    batch_id = hand.submit(bare("a"))
    hand.run(batch_id)
    state = hand.finalize(batch_id)
    ledger = Ledger(hand.storage, "default", lambda: 4e9)
    hand.storage.delete(ledger.keys.file(state.final.output_file_id))
    make_newer(hand.storage, ledger.keys.batch(batch_id).final)
    with pytest.raises(NewerFormatError):
        Files(ledger).sweep()
    assert hand.storage.get(ledger.keys.content(state.final.output_file_id))


def test_newer_idempotency_records_are_not_removed(hand):
    ledger = hand.ledger
    reserve(ledger, b"request", key="k", seconds=0)
    [entry] = hand.storage.list(ledger.keys.idempotency_records())
    make_newer(hand.storage, entry.key)
    for step in range(16):
        clock = partial(float, 1_000_000 + step * 600)
        remove_expired(Ledger(hand.storage, "default", clock))
    assert entry.key in snapshot(hand.storage)


def test_cancelling_a_batch_of_a_newer_version_is_an_error(hand):
    batch_id = hand.submit(bare("a"))
    make_newer(hand.storage, hand.ledger.keys.batch(batch_id).plan)
    with pytest.raises(NewerFormatError):
        cancel_batch(hand.ledger, batch_id)
