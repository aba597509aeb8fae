"""How the rows of a batch's input become requests."""

from typing import Any

import msgspec


class RowOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How rows become requests, as it is stored with the batch.

    One of `prompt`, `prompt_column` and `template` is set. Row `r`, counted from 0, and
    sample `s` are line `r * samples + s + 1` of the request lines.
    """

    prompt: str | None = None
    """A Jinja template of the user's message, whose variables are the columns."""

    prompt_column: str | None = None
    """The column of the user's message, or of a list of messages."""

    template: dict[str, Any] | None = None
    """The body of a request, whose strings are templates."""

    system: str | None = None
    """A template of the system message, before the other messages."""

    samples: int = 1
    """Requests per row, each with a seed of its own."""

    id_column: str | None = None
    """The column of the custom_ids; without it they are `row-1`, `row-2`, …"""

    where: str | None = None
    """Which rows are used; see `row_filter.py`."""

    limit: int | None = None
    """How many rows are used, from the first one on."""

    sample: int | None = None
    """How many rows are chosen at random."""
