"""Commits are added up as they appear, and each is read once."""

from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.commit_index import CommitIndex
from batchchat.jobs.ledger.records import Counts
from tests.support.batch_records import BATCH, commit, new_ledger, plan


@given(st.permutations(range(12)), st.lists(st.integers(0, 12), max_size=4))
def test_the_order_of_commits_does_not_change_the_sums(order, cuts):
    done, at = CommitIndex(), 0
    for cut in [*sorted(cuts), len(order)]:
        done, at = (
            done.with_commits([commit(shard) for shard in order[at:cut]]),
            max(at, cut),
        )
        assert len(done) == at
        assert {shard for shard in range(12) if shard in done} == {*order[:at]}
    sums = Counts(120, 96, 24), Usage(12 * 149, 12 * 9, 12 * 338), 18.0, 14
    assert (done.counts, done.usage, done.engine_seconds, done.last_commit_at) == sums
    assert (done.contiguous_until, done.sparse) == (12, frozenset())


class Watched:
    """Counts the names that are listed of a storage, and the objects that are read."""

    def __init__(self, storage):
        self._storage = storage
        self.listed = self.got = 0

    def __getattr__(self, name):
        return getattr(self._storage, name)

    def list(self, prefix, start_after=""):
        for entry in self._storage.list(prefix, start_after):
            self.listed += "/commits/" in entry.key
            yield entry

    def get(self, key):
        self.got += "/commits/" in key
        return self._storage.get(key)


def watched(shards):
    """Return a ledger whose batch has commits of the first `shards` of 2,000 shards."""
    ledger = new_ledger()
    keys = ledger.keys.batch(BATCH.id)
    ledger.storage.put(keys.plan, records.encode(plan(2_000)))
    for shard in range(shards):
        ledger.storage.put(keys.commit(shard), records.encode(commit(shard)))
    ledger.storage = Watched(ledger.storage)
    return ledger


def looked(ledger):
    """Look once; return where the batch stands, and what was listed and read for it."""
    watch = ledger.storage
    watch.listed = watch.got = 0
    return ledger.state(BATCH.id), watch.listed, watch.got


def test_a_state_reads_only_new_commits():
    ledger = watched(1_500)
    assert looked(ledger)[1:] == (1_500, 1_500)
    assert looked(ledger)[1:] == (0, 0)
    key = ledger.keys.batch(BATCH.id).commit(1_700)
    ledger.storage.put(key, records.encode(commit(1_700)))
    state, listed, read = looked(ledger)
    assert (listed, read) == (1, 1)
    assert state.counts().completed == 8 * 1_501
    assert 1_700 not in state.pending()
    assert looked(ledger)[1:] == (1, 0)


def test_a_deleted_commit_is_noticed_after_the_caches_are_invalidated():
    ledger = watched(50)
    looked(ledger)
    ledger.storage.delete(ledger.keys.batch(BATCH.id).commit(7))
    ledger.invalidate_caches()
    state, listed, _ = looked(ledger)
    assert (listed, state.pending()[0]) == (49, 7)
    assert state.counts().completed == 8 * 49


def test_a_deleted_out_of_order_commit_is_noticed_at_once():
    ledger = watched(50)
    late = ledger.keys.batch(BATCH.id).commit(60)
    ledger.storage.put(late, records.encode(commit(60)))
    assert 60 in looked(ledger)[0].commits
    ledger.storage.delete(late)
    assert looked(ledger)[0].pending()[:11] == [*range(50, 61)]
