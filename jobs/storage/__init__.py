"""Where everything that must survive lives: one bucket behind one Protocol."""

from jobs.storage.base import Entry, Storage, Writer
from jobs.storage.cached import CachedStorage
from jobs.storage.local import LocalStorage
from jobs.storage.memory import MemoryStorage
from jobs.storage.patient import PatientStorage
from jobs.storage.url import open_storage

__all__ = [
    "CachedStorage",
    "Entry",
    "LocalStorage",
    "MemoryStorage",
    "PatientStorage",
    "Storage",
    "Writer",
    "open_storage",
]
