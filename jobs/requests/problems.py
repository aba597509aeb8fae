"""The problems of an input file, in the form of OpenAI's BatchError."""

from collections.abc import Iterable, Iterator
from os import SEEK_END
from tempfile import SpooledTemporaryFile

import msgspec

MAX_LISTED_PROBLEMS = 1_000
"""The most problems that a batch object lists; the report lists all."""


class BatchError(msgspec.Struct, frozen=True):
    """One problem of an input file, as OpenAI's Batch object lists it."""

    code: str
    line: int | None
    message: str
    param: str | None = None


class Problem(BatchError, frozen=True):  # noqa: N818 - no exception
    """One problem of an input file.

    `line` counts from 1 and is None for the file as a whole. `param` is the field: of
    the line, such as `custom_id`, or, with `in_body`, of the request's body, such as
    `messages[2].role`. The others are problems of the form.
    """

    in_body: bool = False


def fails_batch(problem: Problem, on_invalid: str) -> bool:
    """Return whether a problem fails a batch that has the option `on_invalid`.

    A problem of the file as a whole always does. Of those of a line, `fail` is for all,
    `skip` for none, and `openai` for those of the form.
    """
    if problem.line is None or on_invalid == "fail":
        return True
    return on_invalid != "skip" and not problem.in_body


def as_batch_error(problem: Problem, lines_per_row: int = 1) -> BatchError:
    """Return a problem as a Batch object lists it.

    If lines were made of rows, the `line` of an error is the number of its row.
    """
    line = problem.line and (problem.line - 1) // lines_per_row + 1
    return BatchError(problem.code, line, problem.message, problem.param)


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
