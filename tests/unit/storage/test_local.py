"""Failures that only a local folder can have."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from batchchat.jobs.errors import (
    ConfigError,
    ObjectMissingError,
    StorageAccessError,
    StorageError,
    StorageFullError,
)
from batchchat.jobs.storage import LocalStorage, open_storage
from tests.support.file_limit import limit_file_size

LONG_NAME = "a" * 300


def files(folder):
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_the_folder_is_created_at_the_first_write(tmp_path):
    storage = LocalStorage(tmp_path / "new" / "folder")
    assert list(storage.list("")) == []
    assert not storage.folder.exists()
    storage.put("a", b"x")
    assert files(storage.folder) == ["a"]


@pytest.fixture
def synced(monkeypatch):
    """Collect the paths that are synced; a hidden file counts as its folder."""
    seen = []

    def record(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen.append(path.parent if path.name.startswith(".partial") else path)

    monkeypatch.setattr(os, "fsync", record)
    return seen


@pytest.mark.parametrize("method", ["create", "put"])
def test_a_write_syncs_each_folder_that_it_creates(tmp_path, synced, method):
    top = tmp_path / "new" / "store"
    getattr(LocalStorage(top), method)("a/b/c", b"x")
    created = [tmp_path, tmp_path / "new", top, top / "a"]
    assert synced == [*created, top / "a" / "b", top / "a" / "b"]


def test_a_folder_that_another_process_created_is_synced_once(tmp_path, synced):
    LocalStorage(tmp_path).put("a/b/c", b"x")
    synced.clear()
    storage = LocalStorage(tmp_path)
    storage.put("a/b/c", b"y")
    assert synced == [tmp_path, tmp_path / "a", *[tmp_path / "a" / "b"] * 2]
    synced.clear()
    storage.put("a/b/d", b"z")
    assert synced == [tmp_path / "a" / "b"] * 2


def test_a_folder_that_was_removed_is_created_and_synced_again(tmp_path, synced):
    storage = LocalStorage(tmp_path)
    storage.put("a/b", b"x")
    shutil.rmtree(tmp_path / "a")
    synced.clear()
    storage.put("a/b", b"x")
    assert synced == [tmp_path, *[tmp_path / "a"] * 2]


def test_a_deletion_syncs_the_folder(tmp_path, synced):
    storage = LocalStorage(tmp_path)
    storage.put("a/b", b"x")
    synced.clear()
    storage.delete("a/b")
    assert synced == [tmp_path / "a"]
    storage.delete("a/b")
    assert synced == [tmp_path / "a"]


def test_no_write_leaves_a_partial_file_behind(tmp_path):
    storage = LocalStorage(tmp_path)
    storage.create("a", b"1")
    storage.create("a", b"2")
    storage.put("b", b"3")
    with suppress(KeyError), storage.writer("c") as file:
        file.write(b"x" * 100_000)
        raise KeyError
    assert sorted(files(tmp_path)) == ["a", "b"]


def test_partial_files_of_a_killed_writer_are_invisible(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / ".partial-0123").write_bytes(b"half")
    storage = LocalStorage(tmp_path)
    assert list(storage.list("")) == list(storage.list("p/")) == []
    assert list(storage.folders("p")) == []


@pytest.mark.parametrize("size", [2_000, 200_000])
@pytest.mark.parametrize("write", ["create", "put"])
def test_a_full_disk_is_an_error_with_the_path_and_leaves_no_file(
    tmp_path, write, size
):
    storage = LocalStorage(tmp_path)
    with pytest.raises(StorageFullError) as raised, limit_file_size(1_000):
        getattr(storage, write)("a", b"x" * size)
    assert raised.value.retryable
    assert "BATCHCHAT_STORAGE" in str(raised.value.hint)
    assert files(tmp_path) == []


@pytest.mark.parametrize("write", ["create", "put"])
@pytest.mark.parametrize("key", ["folder/a", LONG_NAME])
def test_a_write_that_fails_is_a_storage_error_with_its_path(tmp_path, write, key):
    (tmp_path / "folder").write_text("a file, where a folder should be")
    with pytest.raises(StorageError, match=key) as raised:
        getattr(LocalStorage(tmp_path), write)(key, b"x")
    assert raised.value.hint


def test_old_partial_files_of_a_killed_writer_are_removed(tmp_path):
    storage = LocalStorage(tmp_path)
    storage.put("a/b", b"whole")
    old, new = (tmp_path / "a" / f".partial-{name}" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    storage.remove_leftovers(86_400)
    assert (old.exists(), new.exists()) == (False, True)
    assert storage.get("a/b") == b"whole"


def test_a_missing_folder_is_a_missing_object(tmp_path):
    with pytest.raises(ObjectMissingError):
        LocalStorage(tmp_path / "nowhere").get("a/b")


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}"])
def test_a_setting_names_a_folder(tmp_path, form):
    storage = open_storage(form.format(tmp_path / "a"))
    storage.put("k", b"v")
    assert (tmp_path / "a" / "k").read_bytes() == b"v"


def test_a_url_s_escapes_are_undone_and_made(tmp_path):
    url = (tmp_path / "with space").as_uri()
    assert "%20" in url
    assert open_storage(url).url == url


@pytest.mark.parametrize("url", ["gopher://x/y", "file://elsewhere/x", "s4://b"])
def test_an_unknown_storage_scheme_is_a_config_error(url):
    with pytest.raises(ConfigError, match="BATCHCHAT_STORAGE"):
        open_storage(url)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_without_permission_is_a_denied_access(tmp_path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, "refused")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StorageAccessError, match="refused") as caught:
        LocalStorage(tmp_path).create("a", b"x")
    assert not caught.value.retryable


def test_deleted_objects_leave_no_folders(tmp_path):
    storage = LocalStorage(tmp_path / "store")
    for key in ("a/b/c/one", "a/b/two", "a/kept"):
        storage.put(key, b"x")
    (storage.folder / "a/b/.partial-killed").write_bytes(b"half")
    storage.delete_all(["a/b/c/one", "a/b/two"])
    assert [path.name for path in storage.folder.rglob("*")] == ["a", "kept"]
    storage.delete_all(["a/kept"])
    assert list(storage.folder.iterdir()) == []


def test_a_folder_that_is_removed_meanwhile_is_created_again(tmp_path, monkeypatch):
    storage = LocalStorage(tmp_path / "store")
    create_file = LocalStorage._create_file
    left = [3]

    def create_after_removal(self, path):
        if left[0]:
            left[0] -= 1
            shutil.rmtree(storage.folder / "a")
        return create_file(self, path)

    monkeypatch.setattr(LocalStorage, "_create_file", create_after_removal)
    storage.put("a/b/c", b"x")
    assert storage.get("a/b/c") == b"x"
