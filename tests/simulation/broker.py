"""A simulated Redis: leases, queues and the status board, with a clock of its own."""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from batchchat.jobs.errors import BrokerError
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.status_board import (
    STOP_REQUEST_SECONDS,
    ShardProgress,
    WorkerStatus,
)
from tests.simulation.fault_profile import FaultProfile
from tests.simulation.virtual_time import VirtualWorld

_STATUS_SECONDS = 30.0

T = TypeVar("T")


class Redis:
    """The server and the connection to it: calls take time and may fail."""

    def __init__(self, world: VirtualWorld, faults: FaultProfile) -> None:
        """Start empty."""
        self.world = world
        self.faults = faults
        self.away = False
        self.flush()

    def flush(self) -> None:
        """Delete everything."""
        self.known = False
        self.leases: dict[str, tuple[str, float]] = {}
        self.queues: dict[str, deque[str]] = defaultdict(deque)
        self.workers: dict[str, tuple[WorkerStatus, float]] = {}
        self.announced = 0
        self.stopped: dict[str, float] = {}
        """When the stop request of a batch ends."""

    def call(self, effect: Callable[[], T]) -> T:
        """Run `effect` on the server. Raises `BrokerError`."""
        world, faults = self.world, self.faults
        process = world.current.process
        if process.mortal and world.chance(faults.killed_at_redis):
            world.kill(process)
        world.sleep(0.004 * world.rng.random())
        if self.away:
            world.sleep(world.rng.uniform(0, 2))
            raise BrokerError("Redis is not available")
        if world.chance(faults.redis_fails):
            raise BrokerError("the connection broke")
        done = effect()
        if world.chance(faults.redis_lies):
            raise BrokerError("the answer got lost")
        world.sleep(0.004 * world.rng.random())
        return done

    def owner(self, name: str) -> str | None:
        """Return the current holder of a lease."""
        owner, until = self.leases.get(name, ("", 0.0))
        return owner if until > self.world.now else None

    def pop(self, queue: str) -> str | None:
        """Take a message as a consumer does; it may get lost."""

        def take() -> str | None:
            waiting = self.queues[queue]
            return waiting.popleft() if waiting else None

        message = self.call(take)
        if self.world.chance(self.faults.message_lost):
            return None
        return message


class SimulatedLeases:
    """Replaces `RedisLeases`."""

    def __init__(self, redis: Redis, owner: str, seconds: float) -> None:
        self._redis = redis
        self._owner = owner
        self._seconds = seconds

    def acquire(self, name: str) -> bool:
        def effect() -> bool:
            if self._sees(name):
                return False
            self._claim(name)
            return True

        return self._redis.call(effect)

    def renew(self, name: str) -> bool:
        def effect() -> bool:
            if self._redis.owner(name) not in {None, self._owner}:
                return False
            self._claim(name)
            return True

        return self._redis.call(effect)

    def release(self, name: str) -> None:
        def effect() -> None:
            if self._redis.owner(name) == self._owner:
                del self._redis.leases[name]

        self._redis.call(effect)

    def held(self, names: Collection[str]) -> set[str]:
        if not names:
            return set()
        return self._redis.call(lambda: {n for n in names if self._sees(n)})

    def detect_flush(self) -> bool:
        def effect() -> bool:
            known, self._redis.known = self._redis.known, True
            return not known

        return self._redis.call(effect)

    def _sees(self, name: str) -> bool:
        split = self._redis.world.chance(self._redis.faults.leases_split)
        return self._redis.owner(name) is not None and not split

    def _claim(self, name: str) -> None:
        until = self._redis.world.now + self._seconds
        self._redis.leases[name] = (self._owner, until)


class SimulatedStatusBoard:
    """Replaces `RedisStatusBoard`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def publish(
        self, worker: WorkerStatus, _running: dict[tuple[str, str], ShardProgress]
    ) -> None:
        def effect() -> None:
            self._redis.workers[worker.id] = (
                worker,
                self._redis.world.now + _STATUS_SECONDS,
            )

        self._redis.call(effect)

    def remove(self, worker: str) -> None:
        self._redis.call(lambda: self._redis.workers.pop(worker, None))

    def workers(self) -> list[WorkerStatus]:
        now = self._redis.world.now
        return self._redis.call(
            lambda: [w for w, until in self._redis.workers.values() if until > now]
        )

    def shard_progress(self, batch_id: str) -> dict[int, ShardProgress]:
        del batch_id  # no batch of the simulation has a cost limit
        return {}

    def request_stop(self, batch_id: str, grace: float) -> None:
        del grace  # no batch of the simulation has a cost limit

        def effect() -> None:
            until = self._redis.world.now + STOP_REQUEST_SECONDS
            self._redis.stopped[batch_id] = until

        self._redis.call(effect)

    def stop_requests(self, batches: Iterable[str]) -> dict[str, float]:
        asked = set(batches)
        if not asked:
            return {}
        if self._redis.world.chance(self._redis.faults.leases_split):
            return {}

        def effect() -> dict[str, float]:
            now, stopped = self._redis.world.now, self._redis.stopped
            return {one: 0.0 for one in sorted(asked) if stopped.get(one, 0.0) > now}

        return self._redis.call(effect)


class SimulatedAnnouncements:
    """Replaces `Announcements`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._seen = 0

    def is_new(self) -> bool:
        found = self._redis.call(lambda: self._redis.announced)
        previous, self._seen = self._seen, found
        return found != previous


class SimulatedQueue:
    """Replaces `CeleryQueue`."""

    resend_seconds = 5.0

    def __init__(self, _app: object, redis: Redis) -> None:
        self._redis = redis

    def send(self, queue: str, message: WorkMessage, *, to_front: bool = False) -> None:
        def put() -> None:
            waiting = self._redis.queues[queue]
            waiting.insert(0 if to_front else len(waiting), message.name)

        self._redis.call(put)

    def waiting(self, queue: str) -> set[str]:
        return self._redis.call(lambda: set(self._redis.queues[queue]))


class SimulatedConsumer:
    """Replaces `Consumer`."""

    is_refused = False
    """Outages are shorter than what makes an idle worker exit."""

    def __init__(
        self,
        app: Redis,
        queue: str,
        run: Callable[[WorkMessage], object],
        *,
        threads: int,
        has_room: Callable[[int], bool],
    ) -> None:
        from tests.simulation.threads import Event

        self._redis = app
        self._world = app.world
        self._queue = queue
        self._run = run
        self._threads = threads
        self._has_room = has_room
        self._active = 0
        self._changed = Event(self._world)
        self._stopping = False
        self._code = 0
        process = self._world.current.process
        process.on_term.append(self.stop)

    def stop(self, code: int = 0) -> None:
        """Take no more messages; end when all active ones are done."""
        self._code = self._code or code
        self._stopping = True
        self.wake()

    def wake(self) -> None:
        self._changed.set()

    def consume(self) -> int:
        while not self._stopping:
            if self._active < self._threads and self._has_room(self._active):
                self._take()
            self._rest()
        while self._active:
            self._rest()
        return self._code

    def _take(self) -> None:
        try:
            message = self._redis.pop(self._queue)
        except BrokerError:
            return
        if message is None:
            return
        self._begin(message)
        while self._world.chance(self._redis.faults.message_repeated):
            if self._world.chance(0.5):
                self._begin(message)
            else:
                self._redis.queues[self._queue].append(message)
        self._changed.set()

    def _begin(self, message: str) -> None:
        self._active += 1
        self._world.spawn(
            self._world.current.process, self._work, WorkMessage.parse(message)
        )

    def _work(self, message: WorkMessage) -> None:
        self._run(message)
        self._active -= 1
        self._changed.set()

    def _rest(self) -> None:
        self._changed.wait(self._world.rng.uniform(0.1, 1.0))
        self._changed.clear()
