"""A deletion that is killed at any call is continued; nothing half-deleted shows."""

from operator import methodcaller

import pytest

from batchchat.jobs.deletion import deletion
from batchchat.jobs.deletion.conditions import check_unread
from batchchat.jobs.deletion.deletion import Deleter
from batchchat.jobs.errors import ConflictError, NotFoundError
from batchchat.jobs.files.files import Files
from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.deletions import read_deletion
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.readers import Reader, add_reader, readers_of
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.results.joined_rows import JoinedRows
from batchchat.jobs.storage import MemoryStorage
from batchchat.jobs.webhooks.outbox import Outbox
from tests.support.ended import Hand, whole
from tests.support.stopping import Stopped, StoppingStorage

DATA = b"".join(whole(f"q-{number}", "text") + b"\n" for number in range(5))
AFTER = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


def prepared():
    """Return a storage with two ended batches of one input, and the ids of both."""
    hand = Hand()
    kept = hand.submit(DATA, output_format="both")
    file = hand.ledger.file(hand.ledger.batch(kept).input_file_id)
    asked = BatchOptions(model="m", seed=1, output_format="both")
    deleted = create_batch(hand.ledger, file, asked, enqueue=True).id
    hand.make_plan(deleted)
    for batch_id in (kept, deleted):
        Files(hand.ledger).use(file.id, batch_id)
        hand.run(batch_id)
        hand.finalize(batch_id)
    ActiveIndex(hand.storage).add("default", deleted)
    Outbox(hand.storage).add("default", deleted)
    return hand, kept, deleted


def is_whole(hand, batch_id):
    """Return whether a batch shows, with all its results; otherwise nothing shows."""
    ledger = hand.ledger
    if batch_id not in list(ledger.batch_ids()):
        with pytest.raises(NotFoundError):
            ledger.state(batch_id)
        assert batch_id not in {batch.id for batch in ledger.batches()}
        return False
    state = ledger.state(batch_id)
    assert state.status == "completed"
    assert len(list(JoinedRows(ledger, state))) == 5
    assert all(Files(ledger).get(file_id) for file_id in state.final.file_ids)
    return True


def keys(hand):
    return [entry.key for entry in hand.storage.list("")]


def stopped_at(hand, calls, act, *, after):
    """Do it until the n-th call; return whether it ended before."""
    storage = StoppingStorage(hand.storage, calls, after=after)
    try:
        act(Deleter(Ledger(storage, hand.project, lambda: 1_000.0)))
    except Stopped:
        return False
    return True


@AFTER
@pytest.mark.parametrize("continues", ["delete", "sweep"])
def test_a_deletion_killed_at_any_call_is_continued(after, continues):
    calls, is_done = 0, False
    while not is_done:
        calls += 1
        hand, kept, deleted = prepared()
        act = methodcaller("delete", deleted)
        is_done = stopped_at(hand, calls, act, after=after)
        assert is_whole(hand, kept)
        was_whole = is_whole(hand, deleted)
        if continues == "sweep":
            has_begun = any("/deletions/" in key for key in keys(hand))
            Deleter(hand.ledger).sweep()
            assert is_whole(hand, deleted) == (was_whole and not has_begun)
        elif was_whole or not _is_finished(hand, deleted):
            Deleter(hand.ledger).delete(deleted)
        if not is_whole(hand, deleted):
            assert [key for key in keys(hand) if deleted in key] == [
                hand.ledger.keys.deletion(deleted)
            ]
        assert is_whole(hand, kept)
    assert calls > 30


def _is_finished(hand, batch_id):
    record = read_deletion(hand.ledger, batch_id)
    return record is not None and record.finished_at is not None


@AFTER
def test_the_input_goes_with_the_last_batch_that_reads_it(after):
    calls, is_done = 0, False
    while not is_done:
        calls += 1
        hand, kept, deleted = prepared()
        Deleter(hand.ledger).delete(kept)
        assert is_whole(hand, deleted)
        act = methodcaller("delete", deleted)
        is_done = stopped_at(hand, calls, act, after=after)
        Deleter(hand.ledger).sweep()
        if is_whole(hand, deleted):
            Deleter(hand.ledger).delete(deleted)
        records = [hand.ledger.keys.deletion(one) for one in (kept, deleted)]
        assert keys(hand) == sorted(records)


@AFTER
def test_a_deletion_that_another_batch_prevents_leaves_the_batch_whole(after):
    calls, is_done = 0, False
    while not is_done:
        calls += 1
        hand, _, read = prepared()
        reader = hand.submit(DATA)
        act = _delete_while_read(hand, reader, read)
        is_done = stopped_at(hand, calls, act, after=after)
        if reader in list(readers_of(hand.ledger, read)):
            Deleter(hand.ledger).sweep()
            assert is_whole(hand, read)
            with pytest.raises(ConflictError):
                Deleter(hand.ledger).delete(read)
            assert list(hand.ledger.listing.deleted()) == []


def _delete_while_read(hand, reader, read):
    """Return what deletes a batch just when another one begins to read it."""

    def act(deleter):
        record = deleter._begin(read, keep_input=False)
        mark = hand.ledger.keys.batch(read).reader(reader)
        hand.storage.put(mark, records.encode(Reader()))
        with pytest.raises(ConflictError):
            deleter._finish(read, record)

    return act


def test_a_batch_is_kept_for_a_reader_that_begins_between_two_deletions(monkeypatch):
    hand, _, read = prepared()
    reader = hand.submit(DATA)
    deleter = Deleter(hand.ledger)
    record = deleter._begin(read, keep_input=False)

    def overtaken(ledger, batch_id):
        monkeypatch.undo()
        check_unread(ledger, batch_id)
        mark = hand.ledger.keys.batch(read).reader(reader)
        hand.storage.put(mark, records.encode(Reader()))
        with pytest.raises(ConflictError):  # this one sees the mark
            Deleter(hand.ledger).delete(read)
        add_reader(hand.ledger, read, reader)

    monkeypatch.setattr(deletion, "check_unread", overtaken)
    with pytest.raises(ConflictError, match="begun to read"):
        deleter._finish(read, record)
    assert is_whole(hand, read)
    assert list(readers_of(hand.ledger, read)) == [reader]


@AFTER
def test_what_is_written_after_a_deletion_is_removed_days_later(after):
    calls, is_done = 0, False
    while not is_done:
        calls += 1
        hand, kept, deleted = prepared()
        late = hand.storage.get(hand.ledger.keys.batch(deleted).final)
        for batch_id in (kept, deleted):
            Deleter(hand.ledger).delete(batch_id)
        _write_late(hand, deleted, late)
        days_later = Ledger(
            StoppingStorage(hand.storage, calls, after=after),
            hand.project,
            lambda: 1_000.0 + 3 * 86_400,
        )
        try:
            Deleter(days_later).sweep()
            is_done = True
        except Stopped:
            later = Ledger(hand.storage, hand.project, lambda: 1_000.0 + 3 * 86_400)
            Deleter(later).sweep()
        assert keys(hand) == []


def _write_late(hand, batch_id, final):
    """Write what a finalizer does that was suspended during the deletion."""
    batch = hand.ledger.keys.batch(batch_id)
    hand.storage.put(batch.commit(0), b"late")
    hand.storage.put(batch.final, final)
    outcome = hand.ledger.outcome(batch_id)
    for file_id in outcome.file_ids:
        hand.storage.put(hand.ledger.keys.content(file_id), b"late")


def test_an_id_that_was_never_used_is_not_found():
    hand = Hand(storage=MemoryStorage())
    with pytest.raises(NotFoundError):
        Deleter(hand.ledger).delete(new_batch_id())
    assert keys(hand) == []
