"""What `doctor` reports about a model whose engine dies."""

import pytest

from batchchat.cli.backends.session import Session
from batchchat.cli.commands.doctor import _try_model
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.storage import MemoryStorage
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.engine.echo_core import EchoCore
from tests.support.running import ECHO, SETTINGS, EchoRegistry, renderer


class DyingCore(EchoCore):
    """A core whose every step fails."""

    def step(self):
        raise RuntimeError("no kernel for this device")


class DyingSession(Session):
    """A session whose engines die."""

    @property
    def renderers(self):
        return EchoRegistry(self.catalog, self.models)

    def start_engine(self, *_):
        engine = EngineDriver(DyingCore, renderer())
        engine.start()
        return engine


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    ledger = Ledger(MemoryStorage(), "default")
    return DyingSession(SETTINGS, Catalog({"echo": ECHO}), ledger)


def test_the_reason_and_the_log_are_named(session, tmp_path):
    result = _try_model(session, "echo")
    assert result.status == "error"
    assert "engine died (RuntimeError: no kernel for this device)" in result.message
    assert "restarting" not in result.message
    log = tmp_path / "batchchat" / "logs" / "doctor.log"
    assert str(log) in (result.hint or "")
