"""Files after a process was killed while it removed or stored them."""

import pytest

from batchchat.jobs.errors import StorageError
from batchchat.jobs.files.files import Files
from batchchat.jobs.ids import new_file_id
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.storage import MemoryStorage
from tests.support.ended import Hand, whole

DATA = whole("q", "text") + b"\n"


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def hand(storage):
    return Hand(storage=storage)


def later(hand, seconds):
    """Return the files as they are seen so much later."""
    now = hand.ledger.now() + seconds
    return Files(Ledger(hand.storage, hand.ledger.project, lambda: now))


def stored(hand, file_id):
    top = f"{hand.ledger.keys.files()}/{file_id}/"
    return {entry.key.removeprefix(top) for entry in hand.storage.list(top)}


def killed_at_delete(monkeypatch, hand, file_id):
    def killed(_):
        raise StorageError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(hand.storage, "delete", killed)
        with pytest.raises(StorageError):
            Files(hand.ledger).delete(file_id)


def test_an_interrupted_removal_is_finished_later(monkeypatch, hand):
    file_id = store_file(hand.ledger, [DATA], "in.jsonl").id
    killed_at_delete(monkeypatch, hand, file_id)
    later(hand, 60).sweep()  # it may be under way
    assert "content" in stored(hand, file_id)
    later(hand, 3_600).sweep()
    assert stored(hand, file_id) == {"file.json", "deleted.json"}


def test_an_interrupted_removal_of_a_file_in_use_is_undone(monkeypatch, hand):
    batch_id = hand.submit(DATA)
    file_id = hand.ledger.batch(batch_id).input_file_id
    Files(hand.ledger).use(file_id, batch_id)
    killed_at_delete(monkeypatch, hand, file_id)
    later(hand, 3_600).sweep()
    assert Files(hand.ledger).get(file_id).id == file_id
    assert "content" in stored(hand, file_id)


def test_content_without_metadata_is_removed_after_a_day(storage):
    now = 2_000_000_000.0  # past the time in any id that is made now
    ledger = Ledger(storage, "p", lambda: now)
    lost = ledger.keys.content(new_file_id())
    storage.put(lost, DATA)
    kept = ledger.keys.content(store_file(ledger, [DATA], "in.jsonl").id)
    Files(ledger).sweep()
    assert lost not in {entry.key for entry in storage.list("")}
    assert storage.get(kept) == DATA


def test_recent_content_without_metadata_is_kept(storage):
    ledger = Ledger(storage, "p")
    under_way = ledger.keys.content(new_file_id())
    storage.put(under_way, DATA)
    Files(ledger).sweep()
    assert storage.get(under_way) == DATA


def test_unpublished_results_are_published_after_a_day(hand):
    state = hand.ended(DATA)
    output = state.final.output_file_id
    hand.storage.delete(hand.ledger.keys.file(output))
    files = Files(Ledger(hand.storage, hand.ledger.project, lambda: 4e9))
    files.sweep()
    assert "content" in stored(hand, output)
    assert files.get(output).bytes == state.final.output_bytes
