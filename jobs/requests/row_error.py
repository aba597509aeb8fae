"""The request line of a row that can't be rendered: its custom_id and the reason.

Each row has its lines, so that results are joined with rows by their position.
"""

from typing import Annotated

import msgspec

from batchchat.jobs.requests.parameters import MAX_CUSTOM_ID_CHARS
from batchchat.jobs.requests.problems import Problem

INVALID_ROW = "invalid_row"
_FIELD = b'"row_error"'


class RowError(msgspec.Struct, forbid_unknown_fields=True):
    """A line without a request."""

    custom_id: Annotated[str, msgspec.Meta(max_length=MAX_CUSTOM_ID_CHARS)]
    row_error: str


_decoder = msgspec.json.Decoder(RowError)


def read_row_error(raw: bytes) -> RowError | None:
    """Return what is wrong with the row of a line, None if that is a request."""
    if _FIELD not in raw:
        return None
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def row_problem(error: RowError, line: int) -> Problem:
    """Return the problem of a line."""
    return Problem(INVALID_ROW, line, error.row_error, in_body=True)
