"""Which columns can be used: their names differ, and Parquet has their types."""

from io import BytesIO
from typing import TYPE_CHECKING

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.rows.row_errors import listed

if TYPE_CHECKING:
    import pyarrow as pa


def check_columns(schema: "pa.Schema", name: str) -> None:
    """Raise `InputFileError` unless all columns can be used."""
    if not schema.names:
        raise InputFileError(
            f"`{name}` has no columns", hint="a table has a column and a row at least"
        )
    twice = sorted({one for one in schema.names if schema.names.count(one) > 1})
    if twice:
        raise InputFileError(
            f"`{name}` has several columns with the name {listed(twice)}",
            hint="give each column a name of its own",
        )
    for field in schema:
        _check_type(field, name)


def _check_type(field: "pa.Field", name: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.ParquetWriter(BytesIO(), pa.schema([field])).close()
    except pa.ArrowNotImplementedError:
        raise InputFileError(
            f"`{name}`, column `{field.name}`: its type `{field.type}` can't be read",
            hint="convert the column to a type that Parquet has, or leave it out",
        ) from None
