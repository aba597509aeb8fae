"""Places beside the storage that results are written to: a bucket's prefix, a folder.

Who asks through the API may be anybody with a key, so there a place must lie below
one that the operator has allowed: by whole segments of the path, and for a folder by
where it is once links are followed. Nothing lies within the storage itself, whose
objects are ours alone.
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

_MAX_URL_LENGTH = 1_024
_S3 = re.compile(r"(s3://[A-Za-z0-9][A-Za-z0-9._-]{2,62})(?:/(.*))?")
_FOLDER = re.compile(r"(?:file://)?/(.*)")
_LOCAL = "file://"


class Destination(NamedTuple):
    """A place; `root` is `s3://bucket`, or `file://` for a folder of this machine."""

    root: str
    path: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Destination":
        """Return the place that `text` names. Raises `OutputError`."""
        if len(text) > _MAX_URL_LENGTH:
            message = (
                f"`{text[:80]}…` is too long: up to {_MAX_URL_LENGTH:,} characters"
            )
            raise OutputError(message)
        if found := _S3.fullmatch(text):
            place = cls(found[1], _segments(found[2] or ""))
        elif found := _FOLDER.fullmatch(text):
            is_url = text.startswith(_LOCAL)
            place = cls(_LOCAL, _segments(unquote(found[1]) if is_url else found[1]))
        else:
            raise OutputError(
                f"`{text}` is no destination",
                hint="use `s3://bucket/prefix/`, `file:///folder/` or `/folder/`",
            )
        place._check(text)
        return place

    @property
    def url(self) -> str:
        """The place as a URL, without a `/` at its end."""
        folder = self.folder
        return folder.as_uri() if folder else "/".join((self.root, *self.path))

    @property
    def folder(self) -> Path | None:
        """The folder, None where it is no folder."""
        return Path("/", *self.path) if self.root == _LOCAL else None

    def is_within(self, other: "Destination") -> bool:
        """Say whether it is the other place, or lies below it."""
        if self.folder is not None and other.folder is not None:
            return _resolved(self.folder).is_relative_to(_resolved(other.folder))
        above = self.path[: len(other.path)]
        return (self.root, above) == (other.root, other.path)

    def open(self, endpoint: str | None, *, path_style: bool | None) -> Storage:
        """Return the storage there; its keys are the names of the files."""
        if self.folder is not None:
            return LocalStorage(self.folder)
        return open_storage(self.url, s3_endpoint=endpoint, s3_path_style=path_style)

    def _check(self, text: str) -> None:
        plain = "".join(self.path).isprintable()
        if not plain or {"", ".", ".."} & {*self.path}:
            raise OutputError(f"`{text}` is no plain path, without `.`, `..` and `//`")
        try:
            if self.path and self.root != _LOCAL:
                checked_key("/".join(self.path))
        except ValueError:
            raise OutputError(
                f"`{text}`: a prefix has letters, digits, `._-=`, and no"
                " part of it begins with `.` or `-`"
            ) from None


class AllowedDestinations:
    """The places below which the operator lets results be written."""

    def __init__(self, prefixes: tuple[str, ...], storage_url: str) -> None:
        """Allow `prefixes`, in which `{project}` stands for the project's name."""
        self._prefixes = prefixes
        self._storage = _parse_or_none(storage_url)

    def check(self, text: str, project: str) -> Destination:
        """Return the place that `text` names. Raises `OutputError` if it may not be."""
        place = Destination.parse(text)
        allowed = [prefix.replace("{project}", project) for prefix in self._prefixes]
        if not any(place.is_within(Destination.parse(prefix)) for prefix in allowed):
            named = ", ".join(f"`{prefix}`" for prefix in allowed)
            raise OutputError(
                f"`{text}` is not below a prefix that {SETTING} allows"
                f" ({named or 'it is not set, so that there is none'})"
            )
        if self._storage is not None and place.is_within(self._storage):
            raise OutputError(f"`{text}` is within the storage of the batches")
        return place


def _resolved(folder: Path) -> Path:
    """Return where a folder is once links are followed, as far as they can be."""
    return Path(os.path.realpath(folder))


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.removesuffix("/").split("/")) if path.strip("/") else ()


def _parse_or_none(storage_url: str) -> Destination | None:
    """Return where a storage lies, None for one that is no place."""
    try:
        return Destination.parse(storage_url)
    except OutputError:
        return None
