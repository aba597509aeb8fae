"""The Arrow types of the columns of results.

`messages` has all generated turns and the first answer; it is null if there is none. A
turn that only calls tools has no content. `datasets` reads Parquet's JSON type as
objects, and other readers read it as text. `estimated_cost` is exact for prices with up
to 12 decimals per million tokens.
"""

from collections.abc import Iterable
from typing import Any

from batchchat.jobs.results.nested_columns import CHOICE_FIELDS, MESSAGE_FIELDS
from batchchat.jobs.rows.result_columns import COLUMNS, ROW_COLUMNS


def arrow_fields(*, has_rows: bool, response: bool) -> list[Any]:
    """Return the columns as Arrow fields; `response` states whether it is included."""
    import pyarrow as pa

    types = _arrow_types()
    columns = (*ROW_COLUMNS, *COLUMNS) if has_rows else COLUMNS
    return [
        pa.field(column.name, types[column.type])
        for column in columns
        if response or column.name != "response"
    ]


def _arrow_types() -> dict[str, Any]:
    import pyarrow as pa

    return {
        "string": pa.string(),
        "JSON text": pa.string(),
        "JSON": pa.json_(),
        "int64": pa.int64(),
        "int32": pa.int32(),
        "decimal(38, 18)": pa.decimal128(38, 18),
        "list of JSON": pa.list_(pa.json_()),
        "list of messages": pa.list_(_struct(MESSAGE_FIELDS)),
        "list of choices": pa.list_(_struct(CHOICE_FIELDS)),
    }


def _struct(names: Iterable[str]) -> Any:
    import pyarrow as pa

    special = {
        "index": pa.int32(),
        "seed": pa.int64(),
        "tool_calls": pa.list_(pa.json_()),
    }
    return pa.struct({name: special.get(name, pa.string()) for name in names})
