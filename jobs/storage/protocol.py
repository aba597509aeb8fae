"""The contract that each storage keeps; `tests/contract` holds them to it."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

CHUNK_BYTES = 4 * 1024 * 1024
"""Bytes handed over at a time when an object is streamed."""

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=-]*")


class Entry(NamedTuple):
    """One object of a listing."""

    key: str
    size: int


class Writer(Protocol):
    """Takes the bytes of an object that appears whole or not at all."""

    def write(self, data: bytes, /) -> object:
        """Append `data`."""
        ...


class Storage(Protocol):
    """Objects under keys, each written once and whole.

    A key is `/`-joined segments of letters, digits, `.`, `_` and `-`. An object
    that can be seen is complete: nothing half-written is ever listed or read.
    Every method may raise `StorageError`, and says so by its `retryable`
    whether another try makes sense.
    """

    url: str

    def create(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one; say whether this call did it.

        Where the store is atomic one of several racing callers gets True. Not
        every store is, so what must be decided once is decided by `final.json`.
        """
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write the object, in place of an older one."""
        ...

    def writer(self, key: str) -> AbstractContextManager[Writer]:
        """Write an object of any size in bounded memory.

        It appears when the block ends, and never if the block raises.
        """
        ...

    def get(self, key: str) -> bytes:
        """Return the whole object. Raises `ObjectMissingError`."""
        ...

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, fewer at the object's end.

        Raises `ObjectMissingError`.
        """
        ...

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield the object's bytes in pieces. Raises `ObjectMissingError`."""
        ...

    def size(self, key: str) -> int:
        """Return the object's bytes. Raises `ObjectMissingError`."""
        ...

    def list(self, prefix: str, start_after: str = "") -> Iterator[Entry]:
        """Yield the objects whose key begins with `prefix`, sorted by key."""
        ...

    def folders(self, prefix: str, after: str = "", before: str = "") -> Iterator[str]:
        """Yield, sorted, the next segments of the keys below `prefix` + `/`.

        Only those behind `after` and before `before`, where these are given; with
        `before` the segments are such that none begins another.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        ...


def is_between(name: str, after: str, before: str) -> bool:
    """Say whether `name` sorts between the two; an empty one is no bound."""
    return name > after and (not before or name < before)


def checked_key(key: str) -> str:
    """Return `key` if it can be one.

    Raises:
        ValueError: it can't. Keys are made by us from checked ids, so this is a
            bug of ours and never what a user did.

    """
    if not all(_SEGMENT.fullmatch(segment) for segment in key.split("/")):
        message = f"not a storage key: {key!r}"
        raise ValueError(message)
    return key


def stream_range(
    storage: Storage, key: str, offset: int, length: int
) -> Iterator[bytes]:
    """Yield a range of an object in pieces of bounded size."""
    end = offset + length
    for at in range(offset, end, CHUNK_BYTES):
        yield storage.read(key, at, min(CHUNK_BYTES, end - at))
