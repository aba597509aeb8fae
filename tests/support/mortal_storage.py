"""A storage whose process is killed around one of its writes."""


class Killed(BaseException):
    """The process was killed."""


class Mortal:
    """A storage whose process dies at its n-th write, before it or after it."""

    def __init__(self, storage, deadline, *, after):
        self._storage = storage
        self._left = deadline
        self._after = after
        self.url = storage.url

    def __getattr__(self, name):
        method = getattr(self._storage, name)
        writes = name in {"create", "put", "delete", "writer"}

        def call(*arguments):
            self._left -= writes
            if self._left < 0 or (self._left == 0 and writes and not self._after):
                raise Killed
            done = method(*arguments)
            if self._left == 0 and writes:
                self._left = -1
                raise Killed
            return done

        return call
