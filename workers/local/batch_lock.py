"""A lock on one batch among the processes of a machine.

The embedded way's lease: it only spares double work, and the system lets go of
it when its holder dies, however that came.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchchat.jobs.errors import ConflictError, StorageError
from batchchat.jobs.ids import checked_id


class BatchLockedError(ConflictError):
    """Another process runs the batch."""

    code = "batch_is_running"


@contextmanager
def batch_lock(folder: Path, batch_id: str) -> Iterator[None]:
    """Hold the batch's lock, a file in `folder`.

    Raises:
        BatchLockedError: another process holds it.

    """
    path = folder / f"{checked_id('batch', batch_id)}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"can't make the lock `{path}`: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BatchLockedError(
            f"`{batch_id}` is being run by another process",
            hint=f"see its progress with `batchchat status {batch_id}`",
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)
