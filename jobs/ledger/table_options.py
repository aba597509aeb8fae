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

    def make_tables(self, *, has_rows: bool) -> bool:
        """Return whether the JSON lines of results are tables, not OpenAI's lines.

        Those have no room for the columns of rows, and consist of the response.
        """
        return has_rows or not self.response
