"""Rows of an Arrow file or stream; Feather files are Arrow files."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.rows.row_errors import row_error
from batchchat.jobs.rows.row_reader import RowReader, SeekableBinary

if TYPE_CHECKING:
    import pyarrow as pa

FILE_MAGIC = b"ARROW1"
STREAM_MAGIC = b"\xff\xff\xff\xff"


class ArrowRows(RowReader):
    """Reads one record batch of the file at a time, in the size that it has there."""

    def __init__(self, file: SeekableBinary, name: str, *, is_stream: bool) -> None:
        """Read the schema of `file`. Raises `InputFileError`."""
        import pyarrow as pa

        self._file = file
        self._name = name
        self._open = pa.ipc.open_stream if is_stream else _FileReader
        try:
            self._schema = self._reader().schema
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error, 1) from None

    @property
    @override
    def schema(self) -> "pa.Schema":
        return self._schema

    @override
    def batches(self) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa

        row = 1
        try:
            for batch in self._reader():
                batch.validate(full=True)
                yield batch
                row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error, row) from None

    def _reader(self) -> Any:
        self._file.seek(0)
        return self._open(self._file)

    def _damaged(self, error: Exception, row: int) -> InputFileError:
        reason = f"the Arrow data is damaged or truncated: {error}"
        hint = "write the file again, or copy it again"
        return row_error(self._name, row, reason, hint=hint)


class _FileReader:
    """The record batches of a file with a footer, one after the other."""

    def __init__(self, file: SeekableBinary) -> None:
        import pyarrow as pa

        self._reader = pa.ipc.open_file(file)
        self.schema = self._reader.schema

    def __iter__(self) -> Iterator["pa.RecordBatch"]:
        for at in range(self._reader.num_record_batches):
            yield self._reader.get_batch(at)
