"""The command that prints the log of a batch's engine."""

import os
from contextlib import closing

import pytest

from batchchat.cli.commands.logs import logs
from batchchat.jobs.errors import NotFoundError
from batchchat.jobs.ids import new_batch_id
from batchchat.workers.engine.log_file import EngineLog, engine_log_path


@pytest.fixture(autouse=True)
def data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def test_log_of_a_batch_is_printed(capsys):
    batch_id = new_batch_id()
    with closing(EngineLog(engine_log_path(batch_id))) as log:
        os.write(log.descriptor, b"RuntimeError: x\n")
    assert logs(batch_id) == 0
    assert "RuntimeError: x\n" in capsys.readouterr().out


def test_batch_of_another_machine_has_no_log():
    with pytest.raises(NotFoundError) as raised:
        logs(new_batch_id())
    assert "serve.log" in (raised.value.hint or "")


def test_only_an_id_is_part_of_a_path():
    with pytest.raises(NotFoundError):
        logs("../serve")
