"""What the tables of a batch's results contain."""

import msgspec


class TableOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The columns and rows of a table of results, as it is stored with the batch."""

    columns: tuple[str, ...] | None = None
    """The columns of the input's rows, by their names there; None for all of them."""

    response: bool = True
    """Whether the column `response` is included."""

    only_completed: bool = False
    """Whether requests that failed or never ran are left out."""
