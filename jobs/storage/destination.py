"""Destinations that results are delivered to: the prefix of a bucket, or a folder.

Clients of the API may only use destinations below a prefix that the operator allows.
Paths are compared by whole segments, and folders after symbolic links are resolved.
No destination may lie within the storage itself.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from batchchat.jobs.errors import OutputError
from batchchat.jobs.storage import LocalStorage, Storage, open_storage
from batchchat.jobs.storage.protocol import checked_key

SETTING = "BATCHCHAT_OUTPUT_PREFIXES"
_HINT = "choose a place such as `s3://bucket/prefix/` or `file:///folder/`"

_MAX_URL_LENGTH = 1_024
_S3 = re.compile(r"(s3://[A-Za-z0-9][A-Za-z0-9._-]{2,62})(?:/(.*))?")
_FOLDER = re.compile(r"(?:file://)?/(.*)")
_LOCAL = "file://"


class Destination(NamedTuple):
    """A location; `root` is `s3://bucket`, or `file://` for a local folder."""

    root: str
    path: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Destination":
        """Return the destination that `text` names. Raises `OutputError`."""
        if len(text) > _MAX_URL_LENGTH:
            message = (
                f"`{text[:80]}…` is too long: up to {_MAX_URL_LENGTH:,} characters"
            )
            raise OutputError(message, hint=_HINT)
        if found := _S3.fullmatch(text):
            place = cls(found[1], _segments(found[2] or ""))
        elif found := _FOLDER.fullmatch(text):
            is_url = text.startswith(_LOCAL)
            place = cls(_LOCAL, _segments(unquote(found[1]) if is_url else found[1]))
        else:
            raise OutputError(
                f"`{text}` is not a valid destination",
                hint=_HINT,
            )
        place._check(text)
        return place

    @property
    def url(self) -> str:
        """The URL, without a trailing `/`."""
        folder = self.folder
        return folder.as_uri() if folder else "/".join((self.root, *self.path))

    @property
    def folder(self) -> Path | None:
        """The local folder, None for a bucket."""
        return Path("/", *self.path) if self.root == _LOCAL else None

    def is_within(self, other: "Destination") -> bool:
        """Return whether this is the other destination or lies below it."""
        if self.folder is not None and other.folder is not None:
            return _resolved(self.folder).is_relative_to(_resolved(other.folder))
        above = self.path[: len(other.path)]
        return (self.root, above) == (other.root, other.path)

    def open(self, endpoint: str | None, *, path_style: bool | None) -> Storage:
        """Return a storage for this destination; its keys are file names."""
        if self.folder is not None:
            return LocalStorage(self.folder, private=False)
        return open_storage(self.url, s3_endpoint=endpoint, s3_path_style=path_style)

    def _check(self, text: str) -> None:
        plain = "".join(self.path).isprintable()
        if not plain or {"", ".", ".."} & {*self.path}:
            raise OutputError(
                f"`{text}` must not contain `.`, `..`, `//` or control characters",
                hint=_HINT,
            )
        try:
            if self.path and self.root != _LOCAL:
                checked_key("/".join(self.path))
        except ValueError:
            raise OutputError(
                f"`{text}`: a prefix may contain letters, digits and `._-=`, and no"
                " part of it may begin with `.`, `-` or `=`",
                hint=_HINT,
            ) from None


class AllowedDestinations:
    """The prefixes below which the operator allows deliveries."""

    def __init__(self, prefixes: tuple[str, ...], storage_url: str) -> None:
        """Allow `prefixes`; `{project}` in them is replaced by the project's name."""
        self._prefixes = prefixes
        self._storage = _parse_or_none(storage_url)

    def check(self, text: str, project: str) -> Destination:
        """Return the destination `text`. Raises `OutputError` if it is not allowed."""
        place = Destination.parse(text)
        allowed = [prefix.replace("{project}", project) for prefix in self._prefixes]
        if not any(place.is_within(Destination.parse(prefix)) for prefix in allowed):
            named = ", ".join(f"`{prefix}`" for prefix in allowed)
            raise OutputError(
                f"`{text}` is not below a prefix in {SETTING}"
                f" ({named or 'which is not set'})",
                hint=f"choose a place below one of them, or add a prefix to {SETTING}",
            )
        if self._storage is not None and place.is_within(self._storage):
            raise OutputError(
                f"`{text}` is within the storage of the batches", hint=_HINT
            )
        return place


def _resolved(folder: Path) -> Path:
    """Return a folder with symbolic links resolved."""
    return Path(os.path.realpath(folder))


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.removesuffix("/").split("/")) if path.strip("/") else ()


def _parse_or_none(storage_url: str) -> Destination | None:
    """Return the location of a storage, None if it has none, as in memory."""
    try:
        return Destination.parse(storage_url)
    except OutputError:
        return None
