"""Errors that name the file, the row and the column."""

from batchchat.jobs.errors import InputFileError

_SHOWN_CHARS = 80


def row_error(
    name: str,
    row: int,
    reason: str,
    *,
    column: str | None = None,
    line: int | None = None,
    hint: str,
) -> InputFileError:
    """Return the error of a row; `row` and `line`, if it is another number, from 1."""
    where = f"`{name}`, row {row:,}"
    if line is not None and line != row:
        where += f" (line {line:,})"
    if column is not None:
        where += f", column `{column[:_SHOWN_CHARS]}`"
    return InputFileError(f"{where}: {reason}", hint=hint)


def listed(columns: list[str], most: int = 12) -> str:
    """Return the names of columns for a message, only the first of very many."""
    shown = ", ".join(f"`{column[:_SHOWN_CHARS]}`" for column in columns[:most])
    return f"{shown}, …" if len(columns) > most else shown
