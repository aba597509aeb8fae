"""What a command says while it follows a batch, and when it stops."""

import time
from types import SimpleNamespace

import pytest

from batchchat.cli.backends import follow as following
from batchchat.cli.backends.cluster import ClusterBackend
from batchchat.cli.backends.embedded import EmbeddedBackend
from batchchat.cli.backends.session import Session
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import BrokerError
from batchchat.jobs.settings import Settings
from batchchat.workers.broker.messages import CONTROL
from batchchat.workers.local.batch_lock import batch_lock
from tests.support.ended import MODEL, Hand, whole
from tests.unit.cli.fake_cluster import WORKER, Cluster


def clock(sleep):
    """Return a module `time` with another `sleep`, which other threads do not use."""
    return SimpleNamespace(monotonic=time.monotonic, sleep=sleep)


@pytest.fixture
def session(monkeypatch, tmp_path):
    """The session of a user who presses Ctrl-C at once."""

    def interrupt(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(following, "time", clock(interrupt))
    return Session(Settings(), Catalog({"m": MODEL}), Hand().ledger)


@pytest.fixture
def backend(session):
    return EmbeddedBackend(session)


@pytest.fixture
def batch_id(backend):
    return Hand(storage=backend.ledger.storage).submit(whole("q", "text") + b"\n")


def test_a_batch_that_no_process_runs_is_not_said_to_continue(
    backend, batch_id, capsys
):
    assert following.follow(backend, batch_id, show_progress=False) is None
    err = capsys.readouterr().err
    assert f"no process is running it; continue with `batchchat resume {batch_id}`" in (
        err
    )
    assert "keeps running" not in err


def test_a_batch_that_a_process_runs_is_said_to_continue(backend, batch_id, capsys):
    with batch_lock(backend.session.locks, batch_id):
        assert following.follow(backend, batch_id, show_progress=False) is None
    assert "it keeps running" in capsys.readouterr().err


NO_REDIS = BrokerError("Redis is not available: refused.", hint="start it")
CLUSTERS = {
    "no controller": (Cluster(), "start one with `batchchat controller`"),
    "no worker": (Cluster(CONTROL), "start one with `batchchat worker --model m`"),
    "no Redis": (Cluster(error=NO_REDIS), "Redis is not available: refused; start it"),
}


@pytest.mark.parametrize("lack", CLUSTERS)
@pytest.mark.parametrize("show_progress", [True, False])
def test_what_a_cluster_lacks_is_said_once(
    session, batch_id, capsys, lack, show_progress
):
    cluster, reason = CLUSTERS[lack]
    backend = ClusterBackend(session, cluster)
    assert following.follow(backend, batch_id, show_progress=show_progress) is None
    err = capsys.readouterr().err
    assert err.count(reason) == 1
    assert "keeps running" not in err
    assert ("warning: " in err) is show_progress


def test_a_batch_of_a_complete_cluster_is_said_to_continue(session, batch_id, capsys):
    backend = ClusterBackend(session, Cluster(CONTROL, WORKER))
    assert following.follow(backend, batch_id, show_progress=True) is None
    err = capsys.readouterr().err
    assert "it keeps running" in err
    assert "warning: " not in err


def test_a_different_reason_of_redis_is_not_said_again(session, batch_id, capsys):
    cluster, polls = Cluster(error=NO_REDIS), iter(range(3))

    def fail_again(_seconds):
        if next(polls, None) is None:
            raise KeyboardInterrupt
        cluster.error = BrokerError("Redis is not available: timed out", hint="start")

    backend = ClusterBackend(session, cluster)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "time", clock(fail_again))
        patch.setattr(following, "_BLOCKED_CHECK_SECONDS", 0.0)
        patch.setattr("batchchat.cli.backends.cluster._READ_SECONDS", 0.0)
        following.follow(backend, batch_id, show_progress=True)
    assert cluster.asked >= 3
    assert capsys.readouterr().err.count("Redis is not available") == 1
