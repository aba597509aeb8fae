"""Entries of the index that another version or something else wrote."""

import json

import pytest

from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger.active_index import ActiveBatch, ActiveIndex
from batchchat.jobs.storage import MemoryStorage

NEWER = json.dumps({"format": 99, "requests": 7, "tokens": 8}).encode()


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.mark.parametrize("entry", [NEWER, b"", b"{", b"[]"])
def test_an_entry_that_cannot_be_read_names_a_batch_and_keeps_what_it_says(
    storage, entry
):
    index, batch_id = ActiveIndex(storage), new_batch_id()
    key = f"active/one/{batch_id}"
    storage.put(key, entry)
    assert index.get("one", batch_id) == ActiveBatch()
    [before] = index.entries()
    index.touch("one", batch_id)
    [after] = index.entries()
    assert before[:2] == after[:2]
    assert before.version != after.version
    assert storage.get(key).rstrip() == entry


def test_a_missing_entry_is_added(storage):
    index, batch_id = ActiveIndex(storage), new_batch_id()
    index.touch("one", batch_id)
    assert [*index] == [("one", batch_id)]


def test_foreign_objects_name_no_batch(storage):
    for key in ("active/x", "active/one/x", "active/one/a/b", "active/One/batch_1"):
        storage.put(key, b"")
    index = ActiveIndex(storage)
    assert [*index] == []
    assert [*index.of_project("one")] == []
