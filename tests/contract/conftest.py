"""The storages that keep the contract; a new one is one more entry."""

from collections.abc import Callable
from pathlib import Path

import pytest

from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage import (
    CachedStorage,
    LocalStorage,
    MemoryStorage,
    RetryingStorage,
    Storage,
)

STORAGES: dict[str, Callable[[Path], Storage]] = {
    "memory": lambda _: MemoryStorage(),
    "local": LocalStorage,
    "cached": lambda _: CachedStorage(MemoryStorage()),
    "patient": lambda _: RetryingStorage(
        MemoryStorage(), 0, ShutdownSignal(), lambda _: None
    ),
}
SERVERS = {"s3-moto": "moto", "s3-swift": "swift"}
NOT_ATOMIC = {"s3-swift"}


_SERVED = [pytest.param(name, marks=pytest.mark.server) for name in SERVERS]


@pytest.fixture(params=[*STORAGES, *_SERVED])
def storage(request, tmp_path):
    if server := SERVERS.get(request.param):
        return request.getfixturevalue(server).storage()
    return STORAGES[request.param](tmp_path / "objects")


@pytest.fixture
def winners(request):
    """Return how many of eight racing creates may succeed."""
    atomic = request.node.callspec.params["storage"] not in NOT_ATOMIC
    return range(1, 2 if atomic else 9)
