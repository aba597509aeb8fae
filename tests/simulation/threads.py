"""What `threading`, `queue` and `time` offer, by the virtual clock."""

import math
from collections import deque
from collections.abc import Callable, Collection
from queue import Empty
from typing import Any, Self

from tests.simulation.virtual_time import Actor, VirtualWorld


class Event:
    """A `threading.Event`."""

    def __init__(self, world: VirtualWorld) -> None:
        self._world = world
        self._is_set = False
        self._waiting: list[Actor] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for actor in self._waiting:
            self._world.wake(actor)
        self._waiting = []

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            me = self._world.current
            self._waiting.append(me)
            self._world.park(timeout)
            self._waiting = [actor for actor in self._waiting if actor is not me]
        return self._is_set


class Lock:
    """A `threading.Lock`, used by `with` alone."""

    def __init__(self, world: VirtualWorld) -> None:
        self._world = world
        self._taken = False
        self._waiting: deque[Actor] = deque()

    def __enter__(self) -> Self:
        while self._taken:
            self._waiting.append(self._world.current)
            self._world.park(None)
        self._taken = True
        return self

    def __exit__(self, *_: object) -> None:
        self._taken = False
        if self._waiting:
            self._world.wake(self._waiting.popleft())


class Condition(Lock):
    """A `threading.Condition` with a lock of its own."""

    def __init__(self, world: VirtualWorld) -> None:
        super().__init__(world)
        self._changed = Event(world)

    def wait(self, timeout: float) -> None:
        self._changed.clear()
        self.__exit__()
        self._changed.wait(timeout)
        self.__enter__()

    def wait_for(
        self, predicate: Callable[[], object], timeout: float = math.inf
    ) -> bool:
        while not (found := predicate()) and timeout > 0:
            self.wait(1.0)
            timeout -= 1.0
        return bool(found)

    def notify_all(self) -> None:
        self._changed.set()


class Queue:
    """A `queue.SimpleQueue`."""

    def __init__(self, world: VirtualWorld) -> None:
        self._items: deque[Any] = deque()
        self._filled = Event(world)

    def put(self, item: object) -> None:
        self._items.append(item)
        self._filled.set()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if not self._items and block:
            self._filled.clear()
            self._filled.wait(timeout)
        if not self._items:
            raise Empty
        return self._items.popleft()

    def get_nowait(self) -> Any:
        return self.get(block=False)


class Thread:
    """A `threading.Thread`; all are daemons."""

    def __init__(
        self,
        world: VirtualWorld,
        *,
        target: Callable[..., object],
        args: tuple[object, ...] = (),
        **_: object,
    ) -> None:
        self._world = world
        self._target = target
        self._args = args

    def start(self) -> None:
        process = self._world.current.process
        self._world.spawn(process, self._target, *self._args)


class Time:
    """The module `time`."""

    def __init__(self, world: VirtualWorld) -> None:
        self.time = world.wall
        self.monotonic = world.read_clock
        self.sleep = world.sleep

    def time_ns(self) -> int:
        return int(self.time() * 1e9)


def map_concurrently(
    world: VirtualWorld,
    function: Callable[[Any], Any],
    items: Collection[Any],
    _threads: int,
) -> list[Any]:
    """Replace `workers.concurrently.map_concurrently`."""
    results: dict[int, Any] = {}
    errors: list[BaseException] = []
    done = Event(world)

    def call(index: int, item: object) -> None:
        try:
            results[index] = function(item)
        except Exception as error:  # noqa: BLE001 - raised in the caller
            errors.append(error)
        if len(results) + len(errors) == len(items):
            done.set()

    for index, item in enumerate(items):
        world.spawn(world.current.process, call, index, item)
    if items:
        done.wait()
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(items))]
