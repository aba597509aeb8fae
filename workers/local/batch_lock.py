"""A lock on one batch among the processes of a machine.

Like a lease it only spares duplicate work. The operating system releases it when its
holder dies.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

from batchchat.jobs.errors import ConflictError, StorageError
from batchchat.jobs.ids import checked_id
from batchchat.jobs.private_files import FILE_MODE, make_private_folder

_TIMEOUT_SECONDS = 0.5
"""Longer than `is_locked` holds a lock."""


class BatchLockedError(ConflictError):
    """Another process runs the batch."""

    code = "batch_is_running"


@contextmanager
def batch_lock(folder: Path, batch_id: str) -> Iterator[None]:
    """Hold the lock of a batch, a file in `folder`.

    Raises:
        BatchLockedError: another process holds it.
        StorageError: the file cannot be made.

    """
    path = _path(folder, batch_id)
    lock = FileLock(path, mode=FILE_MODE)
    try:
        make_private_folder(folder)
        lock.acquire(timeout=_TIMEOUT_SECONDS)
    except Timeout:
        raise BatchLockedError(
            f"another process is running `{batch_id}`",
            hint=f"see its progress with `batchchat status {batch_id}`",
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(
            f"cannot make the lock `{path}`: {reason}",
            hint="set XDG_DATA_HOME to a folder that you can write to",
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path, batch_id: str) -> bool:
    """Return whether a process of this machine runs the batch."""
    return _is_held(_path(folder, batch_id))


def _is_held(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with FileLock(path, mode=FILE_MODE, blocking=False):
            return False
    except Timeout:
        return True
    except OSError:  # the lock belongs to another user, whose process may hold it
        return True


@contextmanager
def server_lock(folder: Path, storage_url: str) -> Iterator[None]:
    """Show that a server on this machine runs the batches of a storage.

    A second server of the same storage, or a folder that is not writable, is no error.
    """
    lock = FileLock(_server_path(folder, storage_url), mode=FILE_MODE, blocking=False)
    with suppress(Timeout, OSError):
        make_private_folder(folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_served(folder: Path, storage_url: str) -> bool:
    """Return whether a server on this machine runs the batches of a storage."""
    return _is_held(_server_path(folder, storage_url))


def _server_path(folder: Path, storage_url: str) -> Path:
    return folder / f"server-{sha256(storage_url.encode()).hexdigest()[:16]}.lock"


def _path(folder: Path, batch_id: str) -> Path:
    return folder / f"{checked_id('batch', batch_id)}.lock"
