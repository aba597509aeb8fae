"""The storages that keep the contract; a new one is one more entry."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.stop import Stop
from jobs.storage import LocalStorage, MemoryStorage, PatientStorage, Storage

STORAGES: dict[str, Callable[[Path], Storage]] = {
    "memory": lambda _: MemoryStorage(),
    "local": LocalStorage,
    "patient": lambda _: PatientStorage(MemoryStorage(), 0, Stop(), lambda _: None),
}


@pytest.fixture(params=STORAGES)
def storage(request, tmp_path):
    return STORAGES[request.param](tmp_path / "objects")
