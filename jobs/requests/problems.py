"""The problems of an input file, in the form of OpenAI's BatchError."""

from collections.abc import Iterable, Iterator
from os import SEEK_END
from tempfile import SpooledTemporaryFile

import msgspec

MAX_LISTED_PROBLEMS = 1_000
"""The most problems that a batch object lists; the report lists all."""


class Problem(msgspec.Struct, frozen=True):
    """One problem of an input file.

    `line` counts from 1 and is None for the file as a whole. `param` is the field: of
    the line, such as `custom_id`, or, with `in_body`, of the request's body, such as
    `messages[2].role`. Problems of the file's form fail a batch, unless its options say
    otherwise; those `in_body` are errors of one request.
    """

    code: str
    line: int | None
    message: str
    param: str | None = None
    in_body: bool = False


class ProblemLog:
    """Problems in the order in which they are found, on disk if there are many."""

    def __init__(self) -> None:
        """Start empty."""
        self._file = SpooledTemporaryFile(max_size=1 << 20)  # noqa: SIM115 - closed with self

    def add(self, problems: Iterable[Problem]) -> None:
        """Append `problems`."""
        self._file.seek(0, SEEK_END)
        for problem in problems:
            self._file.write(msgspec.json.encode(problem) + b"\n")

    def __iter__(self) -> Iterator[Problem]:
        """Yield all problems."""
        self._file.seek(0)
        for line in self._file:
            yield msgspec.json.decode(line, type=Problem)

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()
