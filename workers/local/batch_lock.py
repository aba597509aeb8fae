"""A lock on one batch among the processes of a machine.

Like a lease it only spares duplicate work. The operating system releases it when its
holder dies.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from batchchat.jobs.errors import ConflictError, StorageError
from batchchat.jobs.ids import checked_id

_MODE = 0o600


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
    path = folder / f"{checked_id('batch', batch_id)}.lock"
    lock = FileLock(path, mode=_MODE, blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise BatchLockedError(
            f"another process is running `{batch_id}`",
            hint=f"see its progress with `batchchat status {batch_id}`",
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"cannot make the lock `{path}`: {reason}") from None
    try:
        yield
    finally:
        lock.release()
