"""A place in the index is kept for a batch that exists, and only for a while before."""

from contextlib import suppress

import pytest

from batchchat.jobs.access.admission import Admission
from batchchat.jobs.errors import LimitExceededError, StorageError
from batchchat.jobs.ids import id_created_at, new_batch_id
from batchchat.jobs.ledger.active_index import ActiveBatch, ActiveIndex
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.project_rules import ProjectRules
from batchchat.jobs.storage import MemoryStorage
from tests.support.ended import Hand, bare

NEEDS = ActiveBatch(requests=1)


class FailingStorage(MemoryStorage):
    """Fails at each call after an object was deleted, as if the server went away."""

    is_away = False

    def delete(self, key):
        super().delete(key)
        self.is_away = True

    def get(self, key):
        if self.is_away:
            raise StorageError("away")
        return super().get(key)


def admission(storage, age, batch_id, **limits):
    """Return the admission of a server, `age` seconds after an id was made."""
    ledger = Ledger(storage, "default", lambda: id_created_at(batch_id) + age)
    return Admission(ledger, ProjectRules(**limits), LruCache(10))


def test_the_place_of_a_batch_that_another_server_has_created_is_kept():
    storage = FailingStorage()
    batch_id = Hand(storage).submit(bare("hi") + b"\n")
    ActiveIndex(storage).add("default", batch_id, NEEDS)
    with suppress(StorageError):
        admission(storage, 1, batch_id, max_open_batches=0).release(batch_id, NEEDS)
    assert [*ActiveIndex(storage)] == [("default", batch_id)]


@pytest.mark.parametrize(("age", "is_free"), [(60, False), (2 * 3_600, True)])
def test_a_place_whose_batch_was_never_created_becomes_free(age, is_free):
    storage, lost = MemoryStorage(), new_batch_id()
    ActiveIndex(storage).add("default", lost, NEEDS)
    later = admission(storage, age, lost, max_open_batches=1)
    if is_free:
        later.admit(new_batch_id(), NEEDS)
    else:
        with pytest.raises(LimitExceededError):
            later.admit(new_batch_id(), NEEDS)


def test_a_batch_keeps_its_place_however_old_it_is():
    storage = MemoryStorage()
    batch_id = Hand(storage).submit(bare("hi") + b"\n")
    ActiveIndex(storage).add("default", batch_id, NEEDS)
    later = admission(storage, 9 * 86_400, batch_id, max_open_batches=1)
    with pytest.raises(LimitExceededError):
        later.admit(new_batch_id(), NEEDS)
