"""The values of rows in templates and in JSON."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa


def values_of(column: "pa.Array") -> list[Any]:
    """Return a column's values as templates see them.

    These are text, numbers, booleans, lists, dictionaries, dates and times of Python,
    and None for null. Times have microseconds. JSON is decoded.

    Raises:
        UnicodeDecodeError: a text is not valid UTF-8.
        OverflowError: a time is before the year 1 or after 9999.

    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if is_json(column.type):
        return [_decoded(text) for text in column.storage.to_pylist()]
    target = _plain_type(column.type)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if target != column.type:
        column = pc.cast(column, target, safe=False)
    return column.to_pylist()  # type: ignore[no-any-return]


def _decoded(text: str | None) -> Any:
    """Return what a JSON text says; a text that is not JSON stays as it is."""
    try:
        return None if text is None else msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return text


def is_json(kind: "pa.DataType") -> bool:
    """Return whether a column of this type holds JSON, of any type in each row."""
    import pyarrow as pa

    return isinstance(kind, pa.JsonType)


def _plain_type(kind: "pa.DataType") -> "pa.DataType":
    """Return the type without dictionaries, extensions and nanoseconds."""
    import pyarrow as pa
    from pyarrow import types

    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if types.is_struct(kind):
        return pa.struct([(f.name, _plain_type(f.type)) for f in kind.fields])
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.large_list(_plain_type(kind.value_type))
    if types.is_timestamp(kind):
        kind = pa.timestamp("us", kind.tz)
    elif types.is_time64(kind):
        kind = pa.time64("us")
    elif types.is_duration(kind):
        kind = pa.duration("us")
    return kind


def is_text_or_number(kind: "pa.DataType") -> bool:
    """Return whether a column of this type holds texts or numbers."""
    from pyarrow import types

    plain = _plain_type(kind)
    return bool(
        types.is_string(plain)
        or types.is_large_string(plain)
        or types.is_string_view(plain)
        or types.is_integer(plain)
        or types.is_floating(plain)
        or types.is_decimal(plain)
        or types.is_boolean(plain)
    )


def is_messages(kind: "pa.DataType") -> bool:
    """Return whether a column of this type holds lists of messages."""
    from pyarrow import types

    plain = _plain_type(kind)
    if not (types.is_list(plain) or types.is_large_list(plain)):
        return False
    names = {field.name for field in _fields(plain.value_type)}
    return {"role", "content"} <= names


def _fields(kind: "pa.DataType") -> list["pa.Field"]:
    from pyarrow import types

    return list(kind.fields) if types.is_struct(kind) else []


def json_value(value: Any) -> Any:
    """Return a value for JSON, without the fields of dictionaries that are null.

    Arrow gives all dictionaries of a column the same fields, so an absent one is null.
    """
    if isinstance(value, dict):
        return {
            key: json_value(each) for key, each in value.items() if each is not None
        }
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value


def text_value(value: Any) -> Any:
    """Return a single value as text; lists and dictionaries stay as they are."""
    if isinstance(value, str | list | dict):
        return value
    return str(value)
