"""Writes Arrow tables as JSON lines: one object per row, with a value per column.

Numbers, strings and booleans are themselves, decimals with all their digits; NaN and
infinities are null. Structs are objects, lists are arrays, and maps are objects too,
or arrays of pairs if their keys are not strings. Dates and times have their ISO 8601
form, timestamps with a time zone in UTC (`2026-01-31T12:00:00.000Z`), and durations are
numbers in the unit of the column. Binary values are base64. JSON text in a column of
Arrow's JSON type becomes what it says.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, pairwise
from typing import Any

import msgspec

from batchchat.jobs.json_lines import encode

_AS_JSON = {"response"}
"""Columns of text that is known to be JSON."""


def json_lines(table: Any) -> Iterator[bytes]:
    """Yield the rows of a table, each with its line feed; holds them all in memory."""
    names = table.column_names
    columns = []
    for name in names:
        found = [*chain.from_iterable(map(values, table.column(name).chunks))]
        columns.append([*map(_embedded, found)] if name in _AS_JSON else found)
    for row in zip(*columns, strict=True):
        yield encode(dict(zip(names, row, strict=True))) + b"\n"


def values(array: Any) -> list[Any]:
    """Return the values of an Arrow array, each as something that `encode` accepts."""
    for is_kind, convert in _conversions():
        if is_kind(array.type):
            return convert(array)
    return list(array.to_pylist())


@cache
def _conversions() -> list[tuple[Callable[[Any], bool], Callable[[Any], list[Any]]]]:
    """Return what converts the types whose values `encode` does not accept."""
    import pyarrow as pa

    types = pa.types
    return [
        (types.is_dictionary, lambda array: values(array.dictionary_decode())),
        (lambda kind: isinstance(kind, pa.BaseExtensionType), _extension),
        (types.is_struct, _structs),
        (types.is_map, _maps),
        (types.is_list, _lists),
        (types.is_large_list, _lists),
        (types.is_fixed_size_list, _fixed_lists),
        (types.is_temporal, _temporal),
        (types.is_string, _texts),
        (types.is_large_string, _texts),
    ]


def _extension(array: Any) -> list[Any]:
    import pyarrow as pa

    if isinstance(array.type, pa.JsonType):
        return [*map(_embedded, values(array.storage))]
    if isinstance(array.type, pa.UuidType):
        return list(array.to_pylist())
    return values(array.storage)


def _embedded(text: str | None) -> msgspec.Raw | str | None:
    """Return JSON text as what it says, text that is no JSON as a string."""
    if text is None:
        return None
    try:
        return msgspec.Raw(msgspec.json.format(text.encode(), indent=-1))
    except (msgspec.MsgspecError, RecursionError):
        return text


def _structs(array: Any) -> list[Any]:
    names = [field.name for field in array.type]
    fields = [values(field) for field in array.flatten()]
    rows = zip(*fields, strict=True) if fields else ((),) * len(array)
    made: list[Any] = [dict(zip(names, row, strict=True)) for row in rows]
    return _with_nulls(array, made)


def _lists(array: Any) -> list[Any]:
    return _with_nulls(array, _divided(array, array.values))


def _fixed_lists(array: Any) -> list[Any]:
    size = array.type.list_size
    flat = values(array.values.slice(array.offset * size, len(array) * size))
    begins = range(0, len(flat), size) if size else [0] * len(array)
    return _with_nulls(array, [flat[begin : begin + size] for begin in begins])


def _maps(array: Any) -> list[Any]:
    import pyarrow as pa

    keys, items = _divided(array, array.keys), _divided(array, array.items)
    make: type[Any] = dict if pa.types.is_string(array.type.key_type) else list
    made = [make(zip(*pair, strict=True)) for pair in zip(keys, items, strict=True)]
    return _with_nulls(array, made)


def _divided(array: Any, flat: Any) -> list[list[Any]]:
    """Return the values of `flat`, divided by the offsets of an array of lists."""
    if not len(array):
        return []
    offsets = array.offsets.to_pylist()
    first = offsets[0]
    found = values(flat.slice(first, offsets[-1] - first))
    return [found[begin - first : end - first] for begin, end in pairwise(offsets)]


def _temporal(array: Any) -> list[Any]:
    import pyarrow as pa

    kind = array.type
    if pa.types.is_duration(kind):
        return list(array.cast(pa.int64()).to_pylist())
    if pa.types.is_interval(kind):
        return list(array.to_pylist())
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        array = array.cast(pa.timestamp(kind.unit, "UTC"))
    texts = array.cast(pa.string()).to_pylist()
    if not pa.types.is_timestamp(kind):
        return list(texts)
    return [text and text.replace(" ", "T", 1) for text in texts]


def _texts(array: Any) -> list[Any]:
    import pyarrow as pa

    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        raw = array.cast(pa.large_binary()).to_pylist()
        return [one if one is None else one.decode("utf-8", "replace") for one in raw]


def _with_nulls(array: Any, made: list[Any]) -> list[Any]:
    """Return what was made of an array, with None where the array is null."""
    if not array.null_count:
        return made
    valid = array.is_valid().to_pylist()
    return [one if ok else None for one, ok in zip(made, valid, strict=True)]
