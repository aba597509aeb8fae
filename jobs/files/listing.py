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
"""Files that are listed whole: with three objects each, S3's answer to one question."""

_FIRST_SPAN_SECONDS = 3_600.0
_SPAN_GROWTH = 4


class Stored(NamedTuple):
    """A file's id, and what is stored of it."""

    file_id: str
    names: set[str]


class FileListing:
    """The files of the project that `ledger` serves."""

    def __init__(self, ledger: Ledger) -> None:
        """Look at them as they are now."""
        self._ledger = ledger
        self._top = f"{ledger.keys.files()}/"

    def stored(self, begin: str = "", end: str = "") -> Iterator[Stored]:
        """Yield what is stored of each file from `begin` on and before `end`."""
        entries = self._ledger.storage.list(self._top, f"{self._top}{begin}")
        whole = (entry.key[len(self._top) :] for entry in entries)
        keys = takewhile(lambda key: not end or key < end, whole)
        for file_id, paths in groupby(keys, lambda key: key.partition("/")[0]):
            yield Stored(file_id, {path.partition("/")[2] for path in paths})

    def oldest_first(self, after: str | None = None) -> Iterator[str]:
        """Yield the ids of the files behind `after` that are not deleted."""
        behind = f"{after}0" if after else ""  # `0` comes next to the `/` of its keys
        return _visible_ids(self.stored(begin=behind))

    def newest_first(self, before: str | None = None) -> Iterator[str]:
        """Yield the ids of the files older than `before` that are not deleted."""
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
        if "file.json" in names and "deleted.json" not in names:
            yield file_id
