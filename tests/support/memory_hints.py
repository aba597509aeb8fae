"""Leases, news and queues in memory: what Redis carries, for tests of who uses it."""

from collections import defaultdict


class MemoryLeases:
    """Leases of one owner; `all` is shared by those of all owners."""

    def __init__(self, owner="me", leases=None):
        self.owner = owner
        self.all = {} if leases is None else leases
        self.is_known = False

    def take(self, name):
        return self.all.setdefault(name, self.owner) == self.owner

    def renew(self, name):
        return self.take(name)

    def release(self, name):
        if self.all.get(name) == self.owner:
            del self.all[name]

    def held(self, names):
        return self.all.keys() & set(names)

    def begin(self):
        was_known, self.is_known = self.is_known, True
        return not was_known

    def forget(self):
        """Be emptied."""
        self.all.clear()
        self.is_known = False


class MemoryQueue:
    """Queues of hints."""

    def __init__(self):
        self.queues = defaultdict(list)

    def send(self, queue, hint, *, first=False):
        self.queues[queue].insert(0 if first else len(self.queues[queue]), hint)

    def waiting(self, queue):
        return {hint.name for hint in self.queues[queue]}

    def take(self, queue):
        """Take the first hint."""
        return self.queues[queue].pop(0)


class MemoryNews:
    """News that nobody reads."""

    def __init__(self, workers=()):
        self.told = list(workers)
        self.stops = set()
        self.grace = 0.0
        self.runs = {}

    def tell(self, worker, running):
        pass

    def forget(self, worker):
        pass

    def workers(self):
        return self.told

    def running(self, batch_id):
        return self.runs.get(batch_id, {})

    def stop(self, batch_id, grace):
        self.stops.add(batch_id)
        self.grace = grace

    def stopped(self, batches):
        return dict.fromkeys(self.stops & set(batches), self.grace)
