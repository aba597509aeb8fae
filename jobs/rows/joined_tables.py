"""The rows of several files, one file after the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override

from batchchat.jobs.lru_cache import LruCache
from batchchat.jobs.rows.csv_rows import CsvRows
from batchchat.jobs.rows.json_rows import JsonRows
from batchchat.jobs.rows.row_reader import RowReader
from batchchat.jobs.rows.schema_union import SchemaUnion, in_schema

if TYPE_CHECKING:
    import pyarrow as pa

_OPEN_FILES = 64
"""Files that stay open between two passes over the rows."""


class Table(NamedTuple):
    """A file of rows: its name in errors, and a function that opens it."""

    name: str
    open: Callable[[], RowReader]


class JoinedTables(RowReader):
    """Reads files with compatible columns; few of them are open at a time."""

    def __init__(self, tables: Sequence[Table]) -> None:
        """Read the schema of each file.

        Raises:
            InputFileError: a file can't be read, or its columns have other types; the
                error names the file and the column.

        """
        self._tables = tables
        self._readers: LruCache[str, RowReader] = LruCache(_OPEN_FILES)
        union = SchemaUnion()
        for table in tables:
            reader = self._reader(table)
            is_inferred = isinstance(reader, CsvRows | JsonRows)
            union.add(reader.schema, table.name, is_inferred=is_inferred)
        self._schema = union.schema

    @property
    @override
    def schema(self) -> "pa.Schema":
        return self._schema

    @override
    def batches(self) -> Iterator["pa.RecordBatch"]:
        for table in self._tables:
            for batch in self._reader(table).batches():
                yield in_schema(batch, self._schema, table.name)

    def _reader(self, table: Table) -> RowReader:
        reader = self._readers.get(table.name)
        if reader is None:
            reader = table.open()
            self._readers.put(table.name, reader)
        return reader
