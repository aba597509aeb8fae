"""What `list` says runs a batch: this machine, a cluster, or nothing."""

import pytest

from batchchat.cli.backends.cluster import ClusterBackend
from batchchat.cli.backends.embedded import EmbeddedBackend
from batchchat.cli.backends.session import Session
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import BrokerError
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.settings import Settings
from batchchat.workers.broker.messages import CONTROL
from batchchat.workers.local.batch_lock import batch_lock, server_lock
from tests.support.ended import MODEL, Hand, bare
from tests.unit.cli.fake_cluster import WORKER, Cluster


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def session(hand, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return Session(Settings(), Catalog({"m": MODEL}), hand.ledger)


@pytest.fixture
def batch_id(hand):
    return hand.submit(bare("a"))


def runners(backend, *batch_ids):
    return backend.runners([backend.get(batch_id) for batch_id in batch_ids])


def test_this_machine_runs_a_batch_whose_lock_is_held(session, hand, batch_id):
    other = hand.submit(bare("b"))
    ended = hand.ended(bare("c")).batch.id
    with batch_lock(session.locks, batch_id):
        found = runners(EmbeddedBackend(session), batch_id, other, ended)
    assert found == ["this machine", "none", ""]


def test_this_machine_runs_what_its_server_was_given(session, hand, batch_id):
    backend, other = EmbeddedBackend(session), hand.submit(bare("b"))
    ActiveIndex(hand.storage).add("default", batch_id)
    assert runners(backend, batch_id, other) == ["none", "none"]
    with server_lock(session.locks, hand.storage.url):
        assert runners(backend, batch_id, other) == ["this machine", "none"]
        assert not backend.is_abandoned(backend.get(batch_id))
    with server_lock(session.locks, "file:///other"):
        assert runners(backend, batch_id) == ["none"]


def test_two_servers_of_a_storage_are_no_error(session):
    with server_lock(session.locks, "x"), server_lock(session.locks, "x"):
        pass


@pytest.mark.parametrize(
    ("queues", "missing"),
    [
        ([], "`batchchat controller`"),
        ([WORKER], "`batchchat controller`"),
        ([CONTROL], "`batchchat worker --model m`"),
        ([CONTROL, "model.other"], "`batchchat worker --model m`"),
        ([CONTROL, WORKER], None),
    ],
    ids=str,
)
@pytest.mark.parametrize("planned", [True, False])
def test_a_cluster_runs_a_batch_with_a_controller_and_a_worker(
    session, hand, queues, missing, planned
):
    if planned:
        batch_id = hand.submit(bare("a"))
    else:
        file = store_file(hand.ledger, [bare("a")], "in.jsonl")
        options = BatchOptions(model="m")
        batch_id = create_batch(hand.ledger, file, options, resolved_model=MODEL).id
    backend = ClusterBackend(session, Cluster(*queues))
    assert runners(backend, batch_id) == ["none" if missing else "cluster"]
    reason = backend.blocked_reason(backend.get(batch_id))
    assert (missing or "None") in str(reason)


def test_an_unreachable_redis_is_reported_once(session, hand, batch_id, capsys):
    cluster = Cluster(error=BrokerError("Redis is not available: no", hint="start it"))
    backend = ClusterBackend(session, cluster)
    others = [hand.submit(bare("b")), hand.ended(bare("c")).batch.id]
    assert runners(backend, batch_id, *others) == ["unknown", "unknown", ""]
    assert capsys.readouterr().err == (
        "warning: Redis is not available: no; start it\n"
    )
    assert cluster.asked == 1


def test_ended_batches_need_no_redis(session, hand):
    cluster = Cluster()
    ended = hand.ended(bare("c")).batch.id
    assert runners(ClusterBackend(session, cluster), ended) == [""]
    assert cluster.asked == 0
