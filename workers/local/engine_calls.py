"""Calls from an engine's process to the process that runs the batches.

Each concurrent call has a connection of its own: a call may wait, as for a message, and
others must not wait behind it. The connections are authenticated with a random key, as
their other end decodes pickled values.
"""

import pickle
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple
from uuid import uuid4

from batchchat.jobs.errors import EngineError

_BACKLOG = 64


class CallAddress(NamedTuple):
    """Where a process takes calls, and the key that a caller needs."""

    name: str
    key: bytes


class CallServer:
    """Takes calls to the public methods of objects, which are named by numbers."""

    def __init__(self, targets: Callable[[int], object]) -> None:
        """`targets` returns the object with a number."""
        self._targets = targets
        # An abstract socket: it is no file, and ends with this process.
        self.address = CallAddress(
            f"\0batchchat-{uuid4().hex}", secrets.token_bytes(32)
        )
        self._listener = Listener(
            self.address.name, "AF_UNIX", _BACKLOG, authkey=self.address.key
        )
        self._is_closed = False
        self._thread = Thread(target=self._accept, name="engine-calls", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Accept no more connections; those that exist end with their callers."""
        self._is_closed = True
        with suppress(OSError, EOFError):  # wake the thread that accepts
            Client(self.address.name, "AF_UNIX", authkey=self.address.key).close()
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed:
            with suppress(OSError, EOFError, AuthenticationError):
                connection = self._listener.accept()
                Thread(
                    target=self._serve,
                    args=(connection,),
                    name="engine-call",
                    daemon=True,
                ).start()

    def _serve(self, connection: Connection) -> None:
        with suppress(OSError, EOFError), connection:
            target = self._targets(connection.recv())
            while True:
                name, arguments = connection.recv()
                connection.send(_call(target, name, arguments))


class Caller:
    """Calls the methods of one object of a `CallServer`; safe for use by threads."""

    def __init__(self, address: CallAddress, target: int) -> None:
        """Call the object with the number `target`."""
        self._address = address
        self._target = target
        self._idle: SimpleQueue[Connection] = SimpleQueue()

    def call(self, name: str, *arguments: Any) -> Any:
        """Return what the method returns; raise what it raises.

        Raises:
            EOFError, OSError: the other process has ended.

        """
        with self._connection() as connection:
            connection.send((name, arguments))
            error, value = connection.recv()
        if error is not None:
            raise error
        return value

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            connection = self._idle.get_nowait()
        except Empty:
            name, key = self._address
            connection = Client(name, "AF_UNIX", authkey=key)
            connection.send(self._target)
        try:
            yield connection
        except BaseException:  # an answer may be missing
            connection.close()
            raise
        self._idle.put(connection)

    def close(self) -> None:
        """Close the connections; no call may be running."""
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()


def portable(error: BaseException) -> BaseException:
    """Return an error that another process can decode."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - it was encoded here
    except Exception:  # noqa: BLE001 - any constructor may fail
        return EngineError(f"{type(error).__name__}: {error}")
    return error


def _call(target: object, name: str, arguments: tuple[Any, ...]) -> Any:
    try:
        return None, getattr(target, name)(*arguments)
    except BaseException as error:  # noqa: BLE001 - the caller raises it
        return portable(error), None
