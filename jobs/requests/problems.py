"""What is wrong with an input file, as OpenAI's BatchError says it."""

from collections.abc import Iterable, Iterator
from os import SEEK_END
from tempfile import SpooledTemporaryFile

import msgspec

MAX_LISTED_PROBLEMS = 1_000
"""Problems that a batch object lists; the report has all."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong; `line` counts from 1, None for the whole file.

    `param` is the field, such as `body.messages[2].role`.
    """

    code: str
    line: int | None
    message: str
    param: str | None = None


class ProblemLog:
    """Problems in the order they are found, on disk when they are many."""

    def __init__(self) -> None:
        """Start with none."""
        self._file = SpooledTemporaryFile(max_size=1 << 20)  # noqa: SIM115 - closed with self

    def add(self, problems: Iterable[Problem]) -> None:
        """Append `problems`."""
        self._file.seek(0, SEEK_END)
        for problem in problems:
            self._file.write(msgspec.json.encode(problem) + b"\n")

    def __iter__(self) -> Iterator[Problem]:
        """Yield all of them."""
        self._file.seek(0)
        for line in self._file:
            yield msgspec.json.decode(line, type=Problem)

    def close(self) -> None:
        """Give back the disk's space."""
        self._file.close()
