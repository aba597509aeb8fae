"""Tables in memory, as input with rows."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batchchat.jobs.rows.row_reader import RowReader


class TableRows(RowReader):
    """Reads the rows of a table."""

    def __init__(self, table: Any, batch_rows: int | None = None) -> None:
        """Read `table` in batches of up to `batch_rows`."""
        self._table = table
        self._batch_rows = batch_rows

    @property
    def schema(self) -> Any:
        """The schema of the table."""
        return self._table.schema

    def batches(self) -> Iterator[Any]:
        """Yield the rows."""
        return iter(self._table.to_batches(self._batch_rows))


def parquet_of(columns: dict[str, Any]) -> bytes:
    """Return a Parquet file with these columns."""
    file = BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()
