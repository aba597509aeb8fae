"""A storage whose process is killed before or after its n-th call."""

from collections.abc import Callable, Iterable
from typing import Any

from batchchat.jobs.storage import Storage


class Stopped(BaseException):
    """The process was killed."""


class StoppingStorage:
    """Counts the calls that a process makes, and kills it at one of them.

    Objects that are removed at once are removed one by one, so that the process may be
    killed in between.
    """

    def __init__(self, storage: Storage, calls: int, *, after: bool) -> None:
        """Kill the process at call number `calls`, from 1, before or `after` it."""
        self._storage = storage
        self._left = calls
        self._after = after
        self.url = storage.url

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a method of the storage that counts its calls."""
        method = getattr(self._storage, name)

        def call(*arguments: Any) -> Any:
            self._left -= 1
            if self._left < 0 or (self._left == 0 and not self._after):
                raise Stopped
            done = method(*arguments)
            if self._left == 0:
                self._left = -1
                raise Stopped
            return done

        return call

    def delete_all(self, keys: Iterable[str]) -> None:
        """Remove objects one by one."""
        for key in keys:
            self.delete(key)
