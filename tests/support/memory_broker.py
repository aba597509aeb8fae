"""Leases, the status board and queues in memory, in place of Redis."""

from collections import defaultdict
from uuid import uuid4

from batchchat.workers.broker.status_board import WorkerStatus
from batchchat.workers.environment import WorkerEnvironment


class MemoryLeases:
    """Leases of one owner; `all` is shared by those of all owners."""

    def __init__(self, owner="me", leases=None):
        self.owner = owner
        self.all = {} if leases is None else leases
        self.is_known = False

    def acquire(self, name):
        return self.all.setdefault(name, self.owner) == self.owner

    def renew(self, name):
        return self.acquire(name)

    def release(self, name):
        if self.all.get(name) == self.owner:
            del self.all[name]

    def held(self, names):
        return self.all.keys() & set(names)

    def detect_flush(self):
        was_known, self.is_known = self.is_known, True
        return not was_known

    def forget(self):
        """Be emptied."""
        self.all.clear()
        self.is_known = False


class MemoryQueue:
    """Queues of messages."""

    resend_seconds = 5.0

    def __init__(self):
        self.queues = defaultdict(list)

    def send(self, queue, message, *, to_front=False):
        self.queues[queue].insert(0 if to_front else len(self.queues[queue]), message)

    def waiting(self, queue):
        return {message.name for message in self.queues[queue]}

    def take(self, queue):
        """Take the first message."""
        return self.queues[queue].pop(0)


class MemoryStatusBoard:
    """A status board that only tests read."""

    def __init__(self, workers=()):
        self.told = list(workers)
        self.stops = set()
        self.grace = 0.0
        self.runs = {}

    def publish(self, worker, running):
        pass

    def remove(self, worker):
        pass

    def workers(self):
        return self.told

    def shard_progress(self, batch_id):
        return self.runs.get(batch_id, {})

    def request_stop(self, batch_id, grace):
        self.stops.add(batch_id)
        self.grace = grace

    def stop_requests(self, batches):
        return dict.fromkeys(self.stops & set(batches), self.grace)


def worker_status(queue, **changes):
    """Return the status of a worker that reports from the host gpu-1."""
    fields = {"id": uuid4().hex, "queue": queue, "model": "echo", "host": "gpu-1"}
    fields |= {"since": 0, "tokens_per_second": 0, "shards": []}
    return WorkerStatus(**fields | changes)


def memory_environment(storage, settings, *, leases=None, status_board=None, **others):
    """Return the environment of a process whose broker is in memory."""
    return WorkerEnvironment(
        storage=storage,
        settings=settings,
        leases=leases or MemoryLeases(),
        status_board=status_board or MemoryStatusBoard(),
        **others,
    )
