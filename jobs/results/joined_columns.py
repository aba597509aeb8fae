"""The columns of the input's rows, joined to requests by their position.

Line `n` of a batch with rows is sample `(n - 1) % samples` of row `(n - 1) // samples`,
both counted from 0. The input is read again in order and keeps its place between calls,
so joining a whole batch reads it once, and holds one batch of its rows in memory.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from batchchat.jobs.errors import (
    CorruptObjectError,
    NotFoundError,
    ObjectMissingError,
)
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch
from batchchat.jobs.planning.row_conversion import open_input_rows
from batchchat.jobs.results.source_lines import SourceLines
from batchchat.jobs.rows.result_columns import check_columns, result_names
from batchchat.jobs.rows.row_options import RowOptions
from batchchat.jobs.rows.row_reader import RowReader

_DATASETS = "huggingface"
"""The key of the metadata that `datasets` writes."""


class JoinedColumns:
    """The columns of the rows that requests were made of.

    `fields` are those of the input, as Arrow's, with the names that they have in
    results; `numbers` are `row` and `sample`, which follow them in a table. `renamed`
    has the columns of the input whose name differs. `metadata` is what `datasets` keeps
    about the input, such as the names of labels.
    """

    def __init__(
        self,
        reader: RowReader | None,
        samples: int,
        wanted: tuple[str, ...] | None,
        source: SourceLines | None = None,
    ) -> None:
        """Join the `wanted` columns of `reader`, or all; without it, only numbers.

        `source` finds the lines of the batch that has the rows, if another one has the
        lines.

        Raises:
            UsageError: a column does not exist.

        """
        import pyarrow as pa

        self.fields: list[Any] = []
        self.renamed: dict[str, str] = {}
        self.metadata: dict[str, bytes] = {}
        self.numbers = [pa.field("row", pa.int64()), pa.field("sample", pa.int32())]
        self._samples = samples
        self._source = source
        self._rows: _Rows | None = None
        if reader is not None:
            names = result_names(reader.schema.names)
            chosen = check_columns(wanted, [*names])
            self._rows = _Rows(reader, chosen)
            known = reader.schema.metadata or {}
            if _DATASETS.encode() in known:
                self.metadata = {_DATASETS: known[_DATASETS.encode()]}
            self.renamed = {name: names[name] for name in chosen if names[name] != name}
            self.fields = [
                reader.schema.field(name).with_name(names[name]) for name in chosen
            ]
        self._schema = pa.schema([*self.fields, *self.numbers])

    def table(self, lines: list[int]) -> Any:
        """Return an Arrow table of the rows of `lines`, counted from 1, in that order.

        A line is at least the one before.
        """
        import pyarrow as pa

        if self._source is not None:
            lines = self._source.of(lines)
        rows = [(line - 1) // self._samples for line in lines]
        numbers = [
            pa.array([row + 1 for row in rows], pa.int64()),
            pa.array([(line - 1) % self._samples + 1 for line in lines], pa.int32()),
        ]
        columns = self._rows.take(rows) if self._rows is not None else []
        return pa.Table.from_arrays([*columns, *numbers], schema=self._schema)


def joined_columns(
    ledger: Ledger,
    batch: Batch,
    wanted: tuple[str, ...] | None,
    *,
    is_merged: bool = False,
) -> JoinedColumns | None:
    """Return the columns of the rows that a batch or its source has, None without rows.

    `is_merged` states that the lines are those of the source.

    Raises:
        UsageError: a column does not exist.
        NotFoundError: the input was deleted.

    """
    if not batch.has_rows:
        return None
    owner = ledger.batch(batch.rows_of) if batch.rows_of is not None else batch
    rows = owner.rows or RowOptions()
    source = None if owner is batch or is_merged else SourceLines(ledger, batch)
    try:
        reader = None
        if wanted != ():
            reader = open_input_rows(ledger, owner.input_file_id, rows)
    except ObjectMissingError:
        raise NotFoundError(
            f"the input `{owner.input_file_id}`, which has the columns, was deleted",
            hint="write the results without them: `--columns none`",
        ) from None
    return JoinedColumns(reader, rows.samples, wanted, source)


class _Rows:
    """Reads rows by their number, forward as long as the numbers rise."""

    def __init__(self, reader: RowReader, names: list[str]) -> None:
        self._reader = reader
        self._names = names
        self._restart()

    def take(self, rows: list[int]) -> list[Any]:
        """Return the columns of `rows`, counted from 0.

        Raises:
            CorruptObjectError: the input has fewer rows.

        """
        import pyarrow as pa

        if rows[0] < self._begin:
            self._restart()
        pieces, at = [], 0
        while at < len(rows):
            while rows[at] >= self._end:
                self._advance(rows[at])
            until = bisect_left(rows, self._end, at)
            pieces.append(self._piece(rows[at:until]))
            at = until
        return list(pa.Table.from_batches(pieces).columns)

    def _restart(self) -> None:
        self._begin = self._end = 0
        self._batches: Iterator[Any] = self._reader.batches()

    def _advance(self, row: int) -> None:
        batch = next(self._batches, None)
        if batch is None:
            raise CorruptObjectError(
                f"the input has {self._end:,} rows, but there is a result for row"
                f" {row + 1:,}"
            )
        self._batch = batch.select(self._names)
        self._begin, self._end = self._end, self._end + batch.num_rows

    def _piece(self, rows: list[int]) -> Any:
        import pyarrow as pa

        first = rows[0] - self._begin
        if rows == [*range(rows[0], rows[0] + len(rows))]:
            return self._batch.slice(first, len(rows))
        places = [row - self._begin for row in rows]
        return self._batch.take(pa.array(places, pa.int64()))
