"""The simulated bucket, and the clients through which processes use it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from itertools import islice
from typing import TypeVar

from batchchat.jobs.errors import StorageAccessError, StorageError, StorageFullError
from batchchat.jobs.storage import MemoryStorage
from batchchat.jobs.storage.protocol import Entry
from tests.simulation.fault_profile import FaultProfile
from tests.simulation.virtual_time import Process, VirtualWorld

_PAGE = 3
"""Entries of a listing that are read at a time."""

_LONGEST_LAG = 6.0
"""Time until a listing shows what was written or deleted, in seconds; less than the
duration of a lease, which is how long a batch waits for a worker that was killed."""

T = TypeVar("T")


class Bucket(MemoryStorage):
    """The stored objects, with the history of each key."""

    def __init__(self, world: VirtualWorld, *, atomic: bool) -> None:
        """With `atomic`, exactly one of concurrent creates succeeds."""
        super().__init__()
        self.atomic = atomic
        self.away = False
        self.full = False
        self.denied_until: dict[str, float] = {}
        """When processes may use the bucket again, by their name."""

        self.history: dict[str, list[tuple[float, bytes]]] = defaultdict(list)
        self._world = world
        self._deleted: dict[str, tuple[float, int]] = {}

    def put(self, key: str, data: bytes) -> None:
        """Write an object, and record the time."""
        super().put(key, data)
        self.history[key].append((self._world.now, data))

    def delete(self, key: str) -> None:
        """Delete an object, and record the time."""
        if self.has(key):
            self._deleted[key] = self._world.now, self.size(key)
        super().delete(key)

    def listed(self, lag: float) -> "Bucket":
        """Return what a listing shows that is `lag` seconds old."""
        then = self._world.now - lag
        shown = Bucket(self._world, atomic=self.atomic)
        for key, data in self._objects.items():
            if self.history[key][0][0] <= then:
                shown._objects[key] = data
        for key, (deleted_at, size) in self._deleted.items():
            if deleted_at > then and self.history[key][0][0] <= then:
                shown._objects.setdefault(key, bytes(size))
        return shown

    def create(self, key: str, data: bytes) -> bool:
        """Write an object if there is none, and record the time."""
        done = super().create(key, data)
        if done:
            self.history[key].append((self._world.now, data))
        return done

    def has(self, key: str) -> bool:
        """Return whether the object exists."""
        return key in self._objects

    def tear(self, key: str, size: int) -> None:
        """Truncate an object to `size` bytes."""
        self._objects[key] = self._objects[key][:size]

    def restore(self, key: str) -> None:
        """Restore the last written value, as from a backup."""
        self._objects[key] = self.history[key][-1][1]

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`."""
        return sorted(key for key in self._objects if key.startswith(prefix))


class BucketClient:
    """The bucket as one process sees it: each call takes time and may fail."""

    url = "s3://simulated"

    def __init__(
        self, world: VirtualWorld, bucket: Bucket, faults: FaultProfile
    ) -> None:
        """Access `bucket` with the given faults."""
        self._world = world
        self._bucket = bucket
        self._faults = faults
        self.calls = 0

    def create(self, key: str, data: bytes) -> bool:
        """See `Storage`; check first if creates are not atomic."""
        if self._bucket.atomic:
            return self._written(lambda: self._bucket.create(key, data))
        return self._call(lambda: self._create_in_two_steps(key, data))

    def put(self, key: str, data: bytes) -> None:
        """See `Storage`."""
        self._written(lambda: self._bucket.put(key, data))

    @contextmanager
    def writer(self, key: str) -> Iterator[BytesIO]:
        """See `Storage`."""
        buffer = BytesIO()
        yield buffer
        self.put(key, buffer.getvalue())

    def get(self, key: str) -> bytes:
        """See `Storage`."""
        return self._call(lambda: self._bucket.get(key))

    def read(self, key: str, offset: int, length: int) -> bytes:
        """See `Storage`."""
        return self._call(lambda: self._bucket.read(key, offset, length))

    def stream(self, key: str) -> Iterator[bytes]:
        """See `Storage`."""
        size = self.size(key)
        for at in range(0, size, 2048):
            yield self.read(key, at, 2048)

    def size(self, key: str) -> int:
        """See `Storage`."""
        return self._call(lambda: self._bucket.size(key))

    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        """See `Storage`; each page shows a different moment."""
        while True:
            page = self._call(partial(self._page, prefix, start_after))
            yield from page
            if len(page) < _PAGE:
                return
            start_after = page[-1].key

    def folders(self, prefix: str, after: str = "", before: str = "") -> Iterator[str]:
        """See `Storage`."""
        yield from self._call(lambda: [*self._listed().folders(prefix, after, before)])

    def delete(self, key: str) -> None:
        """See `Storage`."""
        self._written(lambda: self._bucket.delete(key))

    def delete_all(self, keys: Iterable[str]) -> None:
        """See `Storage`; only some are removed if it is interrupted."""
        for key in keys:
            self.delete(key)

    def _page(self, prefix: str, start_after: str) -> tuple[Entry, ...]:
        return tuple(islice(self._listed().list(prefix, start_after), _PAGE))

    def _listed(self) -> Bucket:
        """Return the bucket as a listing shows it, perhaps as it was seconds ago."""
        if not self._world.chance(self._faults.store_lists_late):
            return self._bucket
        return self._bucket.listed(_LONGEST_LAG * self._world.rng.random())

    def _create_in_two_steps(self, key: str, data: bytes) -> bool:
        if self._bucket.has(key):
            return False
        if self._world.chance(self._faults.store_dawdles):
            self._world.sleep(self._world.rng.uniform(0, 10))
        self._written(lambda: self._bucket.put(key, data))
        return True

    def _written(self, effect: Callable[[], T]) -> T:
        """Write something, with the faults that only writes have."""
        if self._bucket.full:
            self._call(_nothing)
            raise StorageFullError("the bucket is full")
        if self._world.chance(self._faults.store_lags):
            self._later(effect)
            self._call(_nothing)
            raise StorageError("no answer came")
        done = self._call(effect)
        if self._world.chance(self._faults.store_repeats):
            self._later(effect)
        return done

    def _later(self, effect: Callable[[], object]) -> None:
        """Write it later, as a request that was delayed in the network."""

        def come() -> None:
            self._world.sleep(3 * self._world.rng.random() ** 3)
            effect()

        self._world.spawn(Process("wire", mortal=False), come)

    def _call(self, effect: Callable[[], T]) -> T:
        world, faults = self._world, self._faults
        self.calls += 1
        self._peril()
        world.sleep(self._latency())
        if world.now < self._bucket.denied_until.get(world.current.process.name, 0.0):
            raise StorageAccessError("the keys have expired")
        if self._bucket.away:
            world.sleep(world.rng.uniform(0, 2))
            raise StorageError("the bucket does not answer")
        if world.chance(faults.store_refuses):
            raise StorageError("the bucket refuses")
        done = effect()
        self._peril()
        if world.chance(faults.store_lies):
            raise StorageError("the answer got lost")
        world.sleep(self._latency())
        return done

    def _latency(self) -> float:
        rng = self._world.rng
        if self._world.chance(self._faults.store_slow):
            return rng.uniform(0, 8)
        return (0.05 + self._faults.store_crawls) * rng.random()

    def _peril(self) -> None:
        process = self._world.current.process
        if process.mortal and self._world.chance(self._faults.killed_at_store):
            self._world.kill(process)


def _nothing() -> None:
    """Have no effect."""
