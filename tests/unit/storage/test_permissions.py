"""Stored files are their user's, delivered files follow the umask."""

import os
import stat
from contextlib import contextmanager

import pytest

from batchchat.jobs.ledger.keys import TOP_FOLDERS
from batchchat.jobs.private_files import (
    is_private,
    make_private_folder,
    restrict,
    write_private_file,
)
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import LocalStorage
from batchchat.jobs.storage.destination import Destination
from batchchat.workers.diagnostics import run_checks
from batchchat.workers.engine.log_file import EngineLog
from batchchat.workers.local.batch_lock import batch_lock

BATCH = "batch_" + "0" * 32


@contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder):
    """Return the permissions of everything below a folder, by its relative path."""
    return {
        f"{path.relative_to(folder)}": stat.S_IMODE(path.stat().st_mode)
        for path in [folder, *folder.rglob("*")]
    }


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o000, 0o077])
def test_stored_objects_are_private_whatever_the_umask_is(tmp_path, mask):
    storage = LocalStorage(tmp_path / "new/storage")
    with umask(mask):
        storage.put("projects/a/put", b"x")
        storage.create("projects/a/created", b"x")
        with storage.writer("projects/b/written") as file:
            file.write(b"x")
            partial = [*storage.folder.glob("projects/b/.*")]
            assert [stat.S_IMODE(it.stat().st_mode) for it in partial] == [0o600]
    assert modes(tmp_path / "new") == {
        ".": 0o700,
        "storage": 0o700,
        "storage/projects": 0o700,
        "storage/projects/a": 0o700,
        "storage/projects/a/put": 0o600,
        "storage/projects/a/created": 0o600,
        "storage/projects/b": 0o700,
        "storage/projects/b/written": 0o600,
    }


def test_delivered_files_follow_the_umask(tmp_path):
    place = Destination.parse(f"{tmp_path}/exports")
    with umask(0o027):
        place.open(None, path_style=None).put("results.jsonl", b"x")
    assert modes(tmp_path / "exports") == {".": 0o750, "results.jsonl": 0o640}


def test_the_folders_of_an_existing_storage_are_restricted(tmp_path):
    tmp_path.chmod(0o755)
    for name in (*TOP_FOLDERS, "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o2775)
    storage = LocalStorage(tmp_path)
    assert len(storage.exposed(TOP_FOLDERS)) == len(TOP_FOLDERS)
    storage.restrict(TOP_FOLDERS)
    assert storage.exposed(TOP_FOLDERS) == ()
    found = modes(tmp_path)
    assert {found[name] for name in TOP_FOLDERS} == {0o2700}
    assert found["."] == 0o755
    assert found["mine"] == 0o2775


def test_the_folder_of_another_user_is_left_alone(tmp_path, monkeypatch):
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    restrict(tmp_path)
    assert not is_private(tmp_path)


def test_doctor_reports_what_others_can_read(tmp_path):
    storage = LocalStorage(tmp_path)
    storage.put("projects/a", b"x")

    def permissions():
        checks = run_checks(Settings(storage=str(tmp_path)), storage)
        [found] = [it for it in checks if it.check == "permissions"]
        return found

    assert permissions().status == "ok"
    (tmp_path / "projects").chmod(0o750)
    found = permissions()
    assert found.status == "warning"
    assert f"`{tmp_path}/projects`" in found.message
    assert found.hint == f"let the owner run `chmod -R go= {tmp_path}`"


def test_logs_locks_and_private_files_are_private(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/old.log").write_text("x")
    with umask(0o000):
        for name in ("new", "old"):
            EngineLog(tmp_path / f"data/{name}.log").close()
        with batch_lock(tmp_path / "data/locks", BATCH):
            pass
        write_private_file(tmp_path / "data/file", b"x")
        make_private_folder(tmp_path / "data/a/b")
    for name, mode in modes(tmp_path / "data").items():
        assert mode in {0o700, 0o600}, name
