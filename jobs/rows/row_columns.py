"""The columns of some rows, as lists of Python's values."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from batchchat.jobs.rows.row_environment import Null
from batchchat.jobs.rows.row_values import values_of

if TYPE_CHECKING:
    import pyarrow as pa

ROW = "row"
"""The variable that holds a row, for columns whose names are no variables."""


class RowColumns:
    """Converts each column when it is needed first, and only once.

    `problems` holds why rows can't be rendered, by their positions, counted from 0. The
    first problem of a row counts.
    """

    def __init__(self, batch: "pa.RecordBatch") -> None:
        """Read the rows of `batch`."""
        self.count = batch.num_rows
        self.problems: dict[int, str] = {}
        self._batch = batch
        self._lists: dict[str, list[Any]] = {}

    def values(self, name: str) -> list[Any]:
        """Return the values of a column; null is None."""
        if name not in self._lists:
            column = self._batch.column(name)
            try:
                self._lists[name] = values_of(column)
            except (UnicodeDecodeError, OverflowError):
                self._lists[name] = self._readable(name, column)
        return self._lists[name]

    def variables(
        self, names: Sequence[str], *, with_row: bool
    ) -> Iterator[dict[str, Any]]:
        """Yield the variables of each row: the columns, with `Null` for null.

        With `with_row`, `row` is another variable, which holds all of them.
        """
        for values in zip(*map(self.values, names), strict=True):
            row = dict(zip(names, values, strict=True))
            variables = row
            if None in values:
                variables = {
                    name: Null(name) if value is None else value
                    for name, value in row.items()
                }
            yield {**variables, ROW: row} if with_row else variables

    def add_problem(self, at: int, message: str) -> None:
        """Record why the row at a position can't be rendered."""
        self.problems.setdefault(at, message)

    def _readable(self, name: str, column: "pa.Array") -> list[Any]:
        """Return the values that can be read, None for the others."""
        values: list[Any] = []
        for at in range(len(column)):
            try:
                values += values_of(column.slice(at, 1))
            except UnicodeDecodeError:
                self.add_problem(at, f"`{name}` is not valid UTF-8")
                values.append(None)
            except OverflowError:
                self.add_problem(at, f"`{name}` is a time outside the years 1 to 9999")
                values.append(None)
        return values
