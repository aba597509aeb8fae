"""The command-line options that choose the columns and rows of results."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from batchchat.jobs.ledger.table_options import TableOptions


class Only(StrEnum):
    """Which requests are in the results."""

    ALL = "all"
    COMPLETED = "completed"


Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="A,B,…",
        help="Columns of the input's rows to include in the results, or `none`."
        "  [default: all]",
    ),
]
Response = Annotated[
    bool | None,
    typer.Option(
        "--response/--no-response",
        help="Include the whole response of each request.  [default: response]",
        show_default=False,
    ),
]
OnlyOption = Annotated[
    Only | None,
    typer.Option(
        "--only",
        help="Leave out requests that failed or never ran.  [default: all]",
    ),
]


def table_options(
    columns: str | None, response: bool | None, only: Only | None
) -> "TableOptions | None":
    """Return the options, None if none of them is given."""
    if columns is None and response is None and only is None:
        return None
    from batchchat.jobs.ledger.table_options import TableOptions
    from batchchat.jobs.rows.column_names import split_names

    return TableOptions(
        columns=None if columns is None else split_names(columns),
        response=response is not False,
        only_completed=only is Only.COMPLETED,
    )
