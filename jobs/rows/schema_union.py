"""One schema for the tables of several files, and their rows in that schema.

Columns that a file lacks are null. Types that are declared, as in Parquet, are widened
where that loses nothing, such as integers of two sizes. The types of JSON and CSV are
those of the values in one file, so these become text or JSON where files differ.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from batchchat.jobs.errors import InputFileError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class SchemaUnion:
    """Collects the columns of tables; `origins` has the first file of each column."""

    types: dict[str, "pa.DataType"] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    inferred: dict[str, bool] = field(default_factory=dict)

    @property
    def schema(self) -> "pa.Schema":
        """The columns of all tables that were added."""
        import pyarrow as pa

        return pa.schema(self.types)

    def add(self, schema: "pa.Schema", name: str, *, is_inferred: bool) -> None:
        """Add the columns of the file `name`. Raises `InputFileError`."""
        for column in schema:
            self._add_column(column, name, is_inferred=is_inferred)

    def _add_column(self, column: "pa.Field", name: str, *, is_inferred: bool) -> None:
        key = column.name
        known = self.types.setdefault(key, column.type)
        origin = self.origins.setdefault(key, name)
        both_inferred = self.inferred.get(key, is_inferred) and is_inferred
        merged = _merged(known, column.type, is_inferred=both_inferred)
        if merged is None:
            raise InputFileError(
                f"column `{key}` has the type `{column.type}` in `{name}`, but"
                f" `{known}` in `{origin}`",
                hint="read the files one at a time, or convert the column",
            )
        self.types[key] = merged
        self.inferred[key] = both_inferred


def in_schema(batch: "pa.RecordBatch", schema: "pa.Schema", name: str) -> Any:
    """Return the rows of a file in the common schema. Raises `InputFileError`."""
    import pyarrow as pa

    if batch.schema == schema:
        return batch
    columns = [
        _cast(batch.column(one.name), one, name)
        if one.name in batch.schema.names
        else pa.nulls(batch.num_rows, one.type)
        for one in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(column: "pa.Array", wanted: "pa.Field", name: str) -> "pa.Array":
    import pyarrow as pa

    if column.type == wanted.type:
        return column
    if wanted.type == pa.json_():
        values = (
            None if value is None else msgspec.json.encode(value).decode()
            for value in column.to_pylist()
        )
        return pa.array(list(values), pa.json_())
    try:
        return column.cast(wanted.type)
    except pa.ArrowException as error:
        raise InputFileError(
            f"`{name}`, column `{wanted.name}`: its values don't fit into the type"
            f" `{wanted.type}`, which it has with the other files: {error}",
            hint="read the files one at a time, or convert the column",
        ) from None


def _merged(
    one: "pa.DataType", other: "pa.DataType", *, is_inferred: bool
) -> "pa.DataType | None":
    """Return the narrowest type that holds both, None if there is none."""
    import pyarrow as pa

    types = pa.types
    if one == other or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    if not is_inferred:
        return _promoted(_decoded(one), _decoded(other))
    if types.is_nested(one) or types.is_nested(other) or pa.json_() in (one, other):
        return _merged_json(one, other) or pa.json_()
    return _promoted(one, other) or pa.string()


def _merged_json(one: "pa.DataType", other: "pa.DataType") -> "pa.DataType | None":
    """Return the common type of nested values; None if they are kept as JSON."""
    import pyarrow as pa

    types = pa.types
    if types.is_list(one) and types.is_list(other):
        item = _merged(one.value_type, other.value_type, is_inferred=True)
        return None if item == pa.json_() else pa.list_(item)
    if not (types.is_struct(one) and types.is_struct(other)):
        return None
    fields = {part.name: part.type for part in other}
    if fields.keys() != {part.name for part in one}:
        return None
    merged = {
        part.name: _merged(part.type, fields[part.name], is_inferred=True)
        for part in one
    }
    return None if pa.json_() in merged.values() else pa.struct(merged)


def _promoted(one: "pa.DataType", other: "pa.DataType") -> "pa.DataType | None":
    import pyarrow as pa

    schemas = [pa.schema({"x": kind}) for kind in (one, other)]
    try:
        merged = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowException:
        return None
    return merged.field("x").type


def _decoded(kind: "pa.DataType") -> "pa.DataType":
    """Return the type of a column's values."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind
