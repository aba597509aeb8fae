"""A storage in a local folder, durable and atomic on POSIX file systems."""

import errno
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from typing_extensions import override

from batchchat.jobs.errors import (
    ObjectMissingError,
    StorageAccessError,
    StorageError,
    StorageFullError,
)
from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.private_files import (
    FILE_MODE,
    FOLDER_MODE,
    is_private,
    restrict,
)
from batchchat.jobs.storage.protocol import (
    CHUNK_BYTES,
    Entry,
    Storage,
    checked_key,
    is_between,
)

_PARTIAL = ".partial-"
_REMEMBERED_FOLDERS = 10_000
"""Folders that are known to survive a power failure, so that they are synced once."""

_CREATE_TRIES = 5
"""How often a folder is created again that was removed because it was empty."""

_SHARED_FOLDER_MODE = 0o777
_SHARED_FILE_MODE = 0o666

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


class LocalStorage(Storage):
    """Stores each object in a file.

    An object is written to a hidden file and synced, then linked (create) or renamed
    (put) into place, and the folder is synced, as is the parent of each folder that
    the object needs. So after a power failure a written object exists whole and a
    deleted one does not, and of two racing creates `os.link` lets only one succeed.
    """

    def __init__(self, folder: str | os.PathLike[str], *, private: bool = True) -> None:
        """Use `folder`, which is created at the first write.

        Other users can access new files and folders as far as the umask allows, but
        none of them if the storage is private.
        """
        self.folder = Path(folder).expanduser().absolute()
        self._folder_mode = FOLDER_MODE if private else _SHARED_FOLDER_MODE
        self._file_mode = FILE_MODE if private else _SHARED_FILE_MODE
        self.url = self.folder.as_uri()
        self._durable_folders = LruCache[Path, bool](_REMEMBERED_FOLDERS)

    @override
    def create(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with _translate_errors(path):
            if path.exists():
                return False
        with self._partial(path) as (writer, partial):
            writer.write(data)
            writer.sync()
            with _translate_errors(path):
                try:
                    os.link(partial, path)
                except FileExistsError:
                    return False
                _sync_folder(path.parent)
        return True

    @override
    def put(self, key: str, data: bytes) -> None:
        with self.writer(key) as file:
            file.write(data)

    @override
    @contextmanager
    def writer(self, key: str) -> Iterator["_LocalWriter"]:
        path = self._path(key)
        with self._partial(path) as (writer, partial):
            yield writer
            writer.sync()
            with _translate_errors(path):
                partial.replace(path)
                _sync_folder(path.parent)

    @override
    def get(self, key: str) -> bytes:
        path = self._path(key)
        with _translate_errors(path):
            return path.read_bytes()

    @override
    def read(self, key: str, offset: int, length: int) -> bytes:
        path = self._path(key)
        with _translate_errors(path), path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    @override
    def stream(self, key: str) -> Iterator[bytes]:
        path = self._path(key)
        with _translate_errors(path), path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    @override
    def size(self, key: str) -> int:
        path = self._path(key)
        with _translate_errors(path):
            return path.stat().st_size

    @override
    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        top = prefix.rpartition("/")[0]
        first = max(prefix, start_after)
        for key, path in _walk(self.folder / top, f"{top}/" if top else "", first):
            if key.startswith(prefix) and key > start_after:
                with suppress(FileNotFoundError):
                    yield Entry(key, path.stat().st_size)

    @override
    def folders(self, prefix: str, after: str = "", before: str = "") -> Iterator[str]:
        path = self._path(prefix)
        try:
            with _translate_errors(path):
                names = os.listdir(path)  # noqa: PTH208 - names are enough
        except ObjectMissingError:
            return
        seen = (name for name in names if not name.startswith("."))
        yield from sorted(name for name in seen if is_between(name, after, before))

    @override
    def delete(self, key: str) -> None:
        path = self._path(key)
        with suppress(ObjectMissingError), _translate_errors(path):
            path.unlink()
            _sync_folder(path.parent)

    @override
    def delete_all(self, keys: Iterable[str]) -> None:
        folders = set[Path]()
        for key in keys:
            path = self._path(key)
            with suppress(ObjectMissingError), _translate_errors(path):
                path.unlink()
            folders.add(path.parent)
        for folder in sorted(folders, reverse=True):  # the deepest come first
            self._remove_if_empty(folder)

    def _remove_if_empty(self, folder: Path) -> None:
        """Remove a folder, and then its parents, unless an object is in them."""
        while folder != self.folder:
            try:
                _remove_partials(folder)
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:  # something is in it
                with suppress(ObjectMissingError), _translate_errors(folder):
                    _sync_folder(folder)
                return
            self._durable_folders.remove(folder)
            folder = folder.parent

    def restrict(self, names: Iterable[str]) -> None:
        """Remove the permissions of other users on the folders with these names.

        Earlier versions created them by the umask. The storage's own folder stays as it
        is: it may be one that the user shares for other reasons.
        """
        for name in names:
            restrict(self.folder / name)

    def exposed(self, names: Iterable[str]) -> tuple[Path, ...]:
        """Return the folders with these names that other users can access."""
        paths = (self.folder / name for name in names)
        return tuple(path for path in paths if not is_private(path))

    def remove_leftovers(self, seconds: float) -> None:
        """Remove partial files that were last written more than `seconds` ago.

        Killed processes leave them. A file that is being written is never that old.
        """
        before = time.time() - seconds
        for path in self.folder.rglob(f"{_PARTIAL}*"):
            with suppress(FileNotFoundError), _translate_errors(path):
                if path.stat().st_mtime < before:
                    path.unlink()

    def _path(self, key: str) -> Path:
        return self.folder / checked_key(key)

    @contextmanager
    def _partial(self, path: Path) -> Iterator[tuple["_LocalWriter", Path]]:
        """Open a hidden file beside `path`, and remove it at the end."""
        partial = path.parent / f"{_PARTIAL}{uuid4().hex}"
        try:
            file = self._create_partial(partial)
        except OSError as error:
            raise _storage_error(path, error) from error
        try:
            yield _LocalWriter(file, path), partial
        finally:
            with suppress(OSError):
                file.close()
            partial.unlink(missing_ok=True)

    def _create_partial(self, path: Path) -> BinaryIO:
        """Create a file and its folder, which another process may be removing."""
        for _ in range(_CREATE_TRIES - 1):
            with suppress(FileNotFoundError):
                self._make_durable(path.parent)
                return self._create_file(path)
        self._make_durable(path.parent)
        return self._create_file(path)

    def _create_file(self, path: Path) -> BinaryIO:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, self._file_mode), "wb")

    def _make_durable(self, folder: Path) -> None:
        """Create a folder with its parents; return when all of them are on the disk.

        A folder that exists may have been created by another process a moment ago,
        so this process also syncs its entry once.
        """
        exists = folder.is_dir()
        if exists and self._durable_folders.get(folder):
            return
        is_inside = folder != self.folder and folder.is_relative_to(self.folder)
        if is_inside or not exists:
            self._make_durable(folder.parent)
            folder.mkdir(self._folder_mode, exist_ok=True)
            with nullcontext() if is_inside else suppress(PermissionError):
                _sync_folder(folder.parent)
        self._durable_folders.put(folder, value=True)


def _walk(folder: Path, prefix: str, first: str) -> Iterator[tuple[str, Path]]:
    """Yield (key, path) of the files below a folder, sorted by key.

    Folders whose keys all sort before `first` are not opened.
    """
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    keys = [(f"{prefix}{e.name}{'/' if e.is_dir() else ''}", e) for e in entries]
    behind = [pair for pair in keys if pair[0] >= first[: len(pair[0])]]
    for key, entry in sorted(behind, key=lambda pair: pair[0]):
        if entry.is_dir():
            yield from _walk(Path(entry.path), key, first)
        elif not entry.name.startswith("."):
            yield key, Path(entry.path)


def _remove_partials(folder: Path) -> None:
    """Remove what killed processes have left in a folder without objects."""
    names = os.listdir(folder)  # noqa: PTH208 - names are enough
    if all(name.startswith(_PARTIAL) for name in names):
        for name in names:
            (folder / name).unlink(missing_ok=True)


class _LocalWriter:
    """A file whose own errors are translated, but not those of its user."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path

    def write(self, data: bytes) -> None:
        with _translate_errors(self._path):
            self._file.write(data)

    def sync(self) -> None:
        with _translate_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Raise errors of the operating system as `StorageError`, with the path."""
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissingError(str(path)) from error
    except OSError as error:
        raise _storage_error(path, error) from error


def _storage_error(path: Path, error: OSError) -> StorageError:
    if error.errno in _FULL:
        return StorageFullError(
            f"no room to write `{path}`: {error.strerror}",
            hint="free some space or set BATCHCHAT_STORAGE to another folder",
        )
    kind = StorageAccessError if error.errno in _DENIED else StorageError
    return kind(
        f"storage failed at `{path}`: {error.strerror or error}",
        hint="check that the folder exists and is readable and writable",
    )
