"""Finds out whether this process can use a storage."""

from uuid import uuid4

from batchchat.jobs.errors import StorageError
from batchchat.jobs.storage.protocol import Storage, stream_range

PROBE_CALLS = 5


def probe(storage: Storage) -> None:
    """Write, read, list and delete an object.

    Raises:
        StorageAccessError: this process may not use the storage.
        StorageError: a call failed, or did not return what was written.

    """
    key, data = f"doctor/{uuid4().hex}", b"0123456789" * 1000
    storage.put(key, data)
    try:
        whole = storage.get(key) == data
        part = b"".join(stream_range(storage, key, 10, 10)) == data[10:20]
        listed = [entry.key for entry in storage.list(key)] == [key]
    finally:
        storage.delete(key)
    if not (whole and part and listed):
        raise StorageError(f"`{storage.url}` does not return what was written")
