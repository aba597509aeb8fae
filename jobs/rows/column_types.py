"""Which columns can be used: their names differ, and Parquet has their types.

Views, as polars writes them to Arrow files, are read as plain text and binary data:
Arrow can't select rows of views, and readers of Parquet don't know them.
"""

from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from typing_extensions import override

from batchchat.jobs.errors import InputFileError
from batchchat.jobs.rows.row_errors import listed
from batchchat.jobs.rows.row_reader import RowReader

if TYPE_CHECKING:
    import pyarrow as pa


_MAX_COLUMNS = 10_000

_ENVELOPE = {"custom_id", "method", "url", "body"}
"""The fields of a request, which no table of rows has all of."""


def with_usable_columns(reader: RowReader, name: str) -> RowReader:
    """Return a reader without views. Raises `InputFileError` if it has other faults."""
    import pyarrow as pa

    schema = reader.schema
    _check_names(schema, name)
    plain = pa.schema(
        [field.with_type(_without_views(field.type)) for field in schema],
        metadata=schema.metadata,
    )
    if not _are_usable(plain):
        for field in plain:
            _check_type(field, name)
    return reader if plain == schema else _WithoutViews(reader, plain)


class _WithoutViews(RowReader):
    def __init__(self, reader: RowReader, schema: "pa.Schema") -> None:
        self._reader = reader
        self._schema = schema

    @property
    @override
    def schema(self) -> "pa.Schema":
        return self._schema

    @override
    def batches(self) -> Iterator["pa.RecordBatch"]:
        for batch in self._reader.batches():
            yield batch.cast(self._schema)


def _check_names(schema: "pa.Schema", name: str) -> None:
    if len(schema) > _MAX_COLUMNS:
        raise InputFileError(
            f"`{name}` has {len(schema):,} columns, and {_MAX_COLUMNS:,} are allowed",
            hint="select the columns that you need, or put several into a struct",
        )
    if not schema.names:
        hint = "each row needs a column, such as the text of a prompt"
        raise InputFileError(f"`{name}` has no columns", hint=hint)
    if not _ENVELOPE - set(schema.names):
        raise InputFileError(
            f"`{name}` holds requests, which are not rows",
            hint="submit it without options for rows, such as a prompt",
        )
    twice = sorted(one for one, count in Counter(schema.names).items() if count > 1)
    if twice:
        raise InputFileError(
            f"`{name}` has several columns with the name {listed(twice)}",
            hint="give each column a name of its own",
        )


def _check_type(field: "pa.Field", name: str) -> None:
    import pyarrow as pa

    if not _are_usable(pa.schema([field])):
        raise InputFileError(
            f"`{name}`, column `{field.name}`: its type `{field.type}` can't be read",
            hint="convert the column to a type that Parquet has, or leave it out",
        )


def _are_usable(schema: "pa.Schema") -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if any("list_view" in str(kind) for kind in schema.types):  # rows can't be selected
        return False
    try:
        pq.ParquetWriter(BytesIO(), schema).close()
    except (pa.ArrowException, OSError):
        return False
    return True


def _without_views(kind: "pa.DataType") -> "pa.DataType":
    """Return the type without views, also within nested types."""
    import pyarrow as pa

    types = pa.types
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_struct(kind):
        return pa.struct([one.with_type(_without_views(one.type)) for one in kind])
    if types.is_dictionary(kind):
        values = _without_views(kind.value_type)
        return pa.dictionary(kind.index_type, values, ordered=kind.ordered)
    if types.is_map(kind):
        parts = map(_without_views, (kind.key_type, kind.item_type))
        return pa.map_(*parts, keys_sorted=kind.keys_sorted)
    return _list_without_views(kind)


def _list_without_views(kind: "pa.DataType") -> "pa.DataType":
    import pyarrow as pa

    types = pa.types
    if types.is_large_list(kind):
        return pa.large_list(_item(kind))
    if types.is_fixed_size_list(kind):
        return pa.list_(_item(kind), kind.list_size)
    if types.is_list(kind):
        return pa.list_(_item(kind))
    return kind


def _item(kind: "pa.DataType") -> "pa.Field":
    return kind.value_field.with_type(_without_views(kind.value_type))
