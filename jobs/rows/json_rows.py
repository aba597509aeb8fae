"""Rows of a JSON file: one object per line."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from typing_extensions import override

from batchchat.jobs.requests.line_reader import iter_lines
from batchchat.jobs.rows.row_reader import RowReader, SeekableBinary

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 1024 * 1024
_MAX_LINE_BYTES = 8 * 1024 * 1024
_BATCH_ROWS = 1_024


class JsonRows(RowReader):
    """Reads the file once for its schema, and again for each pass over its rows."""

    def __init__(self, file: SeekableBinary, name: str) -> None:
        """Read from the beginning of `file`."""
        self._file = file
        self._name = name

    @cached_property
    def schema(self) -> "pa.Schema":
        """The columns of all rows."""
        import pyarrow as pa

        schemas = [pa.Table.from_pylist(rows).schema for rows in self._blocks()]
        return pa.unify_schemas(schemas, promote_options="permissive")

    @override
    def batches(self) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa

        schema = self.schema
        for rows in self._blocks():
            yield pa.RecordBatch.from_pylist(rows, schema)

    def _blocks(self) -> Iterator[list[dict[str, Any]]]:
        self._file.seek(0)
        rows = []
        chunks = iter(lambda: self._file.read(_BLOCK_BYTES), b"")
        for line in iter_lines(chunks, _MAX_LINE_BYTES):
            if line.raw is not None and line.raw.strip():
                rows.append(msgspec.json.decode(line.raw))
            if len(rows) == _BATCH_ROWS:
                yield rows
                rows = []
        if rows:
            yield rows
