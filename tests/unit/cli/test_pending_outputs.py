"""`--output` of a batch that a server runs is stored on this machine."""

import os
import time
from pathlib import Path

import pytest

from batchchat.cli.backends.batch_view import LocalOutput
from batchchat.cli.backends.pending_outputs import PendingOutputs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "batchchat" / "pending-outputs"


def test_another_process_finds_a_saved_output(folder):
    output = LocalOutput(Path("/somewhere/out.jsonl"), "both")
    PendingOutputs().save("batch_1", output)
    assert PendingOutputs().get("batch_1") == output
    assert PendingOutputs().get("batch_2") is None
    assert [path.name for path in folder.iterdir()] == ["batch_1.json"]


def test_outputs_are_deleted_after_a_month(folder):
    PendingOutputs().save("batch_1", LocalOutput(Path("/old"), "jsonl"))
    month_ago = time.time() - 31 * 86_400
    os.utime(folder / "batch_1.json", (month_ago, month_ago))
    PendingOutputs().save("batch_2", LocalOutput(Path("/new"), "jsonl"))
    assert [path.name for path in folder.iterdir()] == ["batch_2.json"]


def test_unwritable_data_folder_keeps_outputs_in_memory(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    outputs = PendingOutputs()
    outputs.save("batch_1", LocalOutput(Path("/here"), "jsonl"))
    assert outputs.get("batch_1") == LocalOutput(Path("/here"), "jsonl")
    assert PendingOutputs().get("batch_1") is None
