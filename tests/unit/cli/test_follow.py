"""What a command says when it stops to follow a batch."""

import pytest

from batchchat.cli.backends import follow as following
from batchchat.cli.backends.embedded import EmbeddedBackend
from batchchat.cli.backends.session import Session
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.settings import Settings
from batchchat.workers.local.batch_lock import batch_lock
from tests.support.ended import MODEL, Hand, whole


@pytest.fixture
def backend(monkeypatch, tmp_path):
    """A backend whose user presses Ctrl-C at once."""

    def interrupt(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("batchchat.cli.backends.follow.time.sleep", interrupt)
    catalog = Catalog({"m": MODEL})
    return EmbeddedBackend(Session(Settings(), catalog, Hand().ledger))


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
