"""The contract of all storages; `tests/contract` tests each of them."""

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

CHUNK_BYTES = 4 * 1024 * 1024
"""Size of the pieces in which an object is streamed."""

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=-]*")


class Entry(NamedTuple):
    """One object of a listing."""

    key: str
    size: int


class Writer(Protocol):
    """Writes an object, which appears whole or not at all."""

    def write(self, data: bytes, /) -> object:
        """Append `data`."""
        ...


class Storage(Protocol):
    """Objects by key.

    A key consists of segments joined by `/`, made of letters, digits, `.`, `_`, `=`
    and `-`. A visible object is complete: nothing half-written is listed or read.
    Every method may raise `StorageError`, whose `retryable` is true if the same call
    may succeed later.
    """

    url: str

    def create(self, key: str, data: bytes) -> bool:
        """Write the object unless it exists; return whether this call wrote it.

        If several callers race, one of them gets True, but only where the store is
        atomic. So whatever must be decided once is decided by `final.json`.
        """
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write the object, and replace an older one."""
        ...

    def writer(self, key: str) -> AbstractContextManager[Writer]:
        """Write an object of any size in bounded memory.

        It appears when the block ends, but not if the block raises an error.
        """
        ...

    def get(self, key: str) -> bytes:
        """Return the whole object. Raises `ObjectMissingError`."""
        ...

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, or fewer at the end of the object.

        Raises `ObjectMissingError`.
        """
        ...

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield the object's bytes in pieces. Raises `ObjectMissingError`."""
        ...

    def size(self, key: str) -> int:
        """Return the size of the object in bytes. Raises `ObjectMissingError`."""
        ...

    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        """Yield the objects whose key begins with `prefix`, sorted by key."""
        ...

    def folders(self, prefix: str, after: str = "", before: str = "") -> Iterator[str]:
        """Yield the names of the folders and objects directly below `prefix`, sorted.

        Only names between `after` and `before` are included, if these are given. With
        `before`, no name may be a prefix of another one.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the object; a missing one is no error."""
        ...

    def delete_all(self, keys: Iterable[str]) -> None:
        """Remove objects that are not written again; missing ones are no error.

        They are removed in no particular order. A local storage also removes the
        folders that are empty then.
        """
        for key in keys:
            self.delete(key)


def is_between(name: str, after: str, before: str) -> bool:
    """Return whether `name` sorts between the bounds; an empty bound is none."""
    return name > after and (not before or name < before)


def checked_key(key: str) -> str:
    """Return `key` if it is valid.

    Raises:
        ValueError: it is not. All keys are made from checked ids, so this is a bug.

    """
    if not all(_SEGMENT.fullmatch(segment) for segment in key.split("/")):
        message = f"not a storage key: {key!r}"
        raise ValueError(message)
    return key


def stream_range(
    storage: Storage, key: str, offset: int, length: int
) -> Iterator[bytes]:
    """Yield a range of an object in pieces of at most `CHUNK_BYTES`."""
    end = offset + length
    for at in range(offset, end, CHUNK_BYTES):
        yield storage.read(key, at, min(CHUNK_BYTES, end - at))
