"""Storage of everything durable: one bucket or folder behind one Protocol."""

from batchchat.jobs.storage.caching import CachedStorage
from batchchat.jobs.storage.factory import open_storage
from batchchat.jobs.storage.local import LocalStorage
from batchchat.jobs.storage.memory import MemoryStorage
from batchchat.jobs.storage.protocol import Entry, Storage, Writer
from batchchat.jobs.storage.retrying import RetryingStorage

__all__ = [
    "CachedStorage",
    "Entry",
    "LocalStorage",
    "MemoryStorage",
    "RetryingStorage",
    "Storage",
    "Writer",
    "open_storage",
]
