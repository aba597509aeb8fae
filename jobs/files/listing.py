"""The ids of a project's files, listing only as many keys as a page needs.

Keys sort by the file's id, and ids by time. The oldest files are the beginning of the
listing; the newest are found in increasingly long spans of time, each listed from its
beginning.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice, takewhile
from typing import NamedTuple

from batchchat.jobs.ids import id_created_at, smallest_id_at
from batchchat.jobs.ledger.ledger import Ledger

_SINGLE_LISTING_FILES = 300
"""Up to this many files are listed at once: S3's page of 1,000 keys, three per file."""

_FIRST_SPAN_SECONDS = 3_600.0
_SPAN_GROWTH = 4


class Stored(NamedTuple):
    """The id of a file, and the names of its stored objects."""

    file_id: str
    names: set[str]


class FileListing:
    """The listed files of one project."""

    def __init__(self, ledger: Ledger) -> None:
        """Use the project of `ledger`."""
        self._ledger = ledger
        self._top = f"{ledger.keys.files()}/"

    def stored(self, begin: str = "", end: str = "") -> Iterator[Stored]:
        """Yield what is stored of each file from `begin` up to, but without, `end`."""
        entries = self._ledger.storage.list(self._top, f"{self._top}{begin}")
        whole = (entry.key[len(self._top) :] for entry in entries)
        keys = takewhile(lambda key: not end or key < end, whole)
        for file_id, paths in groupby(keys, lambda key: key.partition("/")[0]):
            yield Stored(file_id, {path.partition("/")[2] for path in paths})

    def oldest_first(self, after: str | None = None) -> Iterator[str]:
        """Yield the ids of the undeleted files after `after`, oldest first."""
        behind = (
            f"{after}0" if after else ""
        )  # `0` sorts just after the `/` in its keys
        return _visible_ids(self.stored(begin=behind))

    def newest_first(self, before: str | None = None) -> Iterator[str]:
        """Yield the ids of the undeleted files before `before`, newest first."""
        end = before or ""
        few = list(islice(self.stored(end=end), _SINGLE_LISTING_FILES))
        if len(few) < _SINGLE_LISTING_FILES:
            yield from reversed([*_visible_ids(few)])
            return
        newest = self._ledger.clock() if before is None else id_created_at(before)
        oldest, span = few[0].file_id, _FIRST_SPAN_SECONDS
        while end != oldest:
            begin = max(oldest, smallest_id_at("file", newest - span))
            yield from reversed([*_visible_ids(self.stored(begin, end))])
            end, span = begin, _SPAN_GROWTH * span


def _visible_ids(files: Iterable[Stored]) -> Iterator[str]:
    for file_id, names in files:
        if {"file.json", "content"} <= names and "deleted.json" not in names:
            yield file_id
