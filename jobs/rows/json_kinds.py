"""The types of JSON columns, widened until they hold every value of the column.

A column of integers becomes one of floating-point numbers when it gets such a value,
and text when it gets a string. Numbers and booleans in a column of text become their
JSON. Objects with the same keys are a struct. If the keys differ, the values are kept
as JSON, because a struct would add the missing fields as null.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_DEPTH = 16
"""Values that are nested deeper are kept as JSON."""

_MAX_EXACT = 2**53
"""Up to here each integer is a floating-point number too."""

_MAX_INT64 = 2**63 - 1


@dataclass(frozen=True)
class Kind:
    """The type of a value: of the `item` if it is a list, `fields` if it is an object.

    `long` is an integer that a float can't hold, `mixed` is text with other scalars.
    """

    name: str
    item: "Kind | None" = None
    fields: dict[str, "Kind"] = field(default_factory=dict)


NULL, BOOL, INT, LONG, FLOAT = map(Kind, ("null", "bool", "int", "long", "float"))
TEXT, MIXED, JSON = map(Kind, ("text", "mixed", "json"))

_CONTAINERS = {"list", "object", "json"}
_NUMBERS: dict[frozenset[str], Kind] = {
    frozenset({"int", "long"}): LONG,
    frozenset({"int", "float"}): FLOAT,
}


def kind_of(values: Iterable[Any], depth: int = 0) -> Kind:
    """Return the narrowest kind that holds all `values`, which are decoded JSON."""
    known = list(values)
    types = set(map(type, known))
    if len(types) == 1:
        return _kind_of_type(types.pop(), known, depth)
    return reduce(
        widest,
        (
            _kind_of_type(one, [v for v in known if type(v) is one], depth)
            for one in types
        ),
        NULL,
    )


def widest(one: Kind, other: Kind) -> Kind:
    """Return the narrowest kind that holds the values of both."""
    if NULL in (one, other) or one == other:
        return other if one == NULL else one
    names = frozenset({one.name, other.name})
    if names in _NUMBERS:
        return _NUMBERS[names]
    if one.item and other.item:
        return _list_of(widest(one.item, other.item))
    if names == {"object"} and one.fields.keys() == other.fields.keys():
        return _object_of(
            {k: widest(v, other.fields[k]) for k, v in one.fields.items()}
        )
    return JSON if names & _CONTAINERS else MIXED


def _kind_of_type(kind: type, values: list[Any], depth: int) -> Kind:
    """Return the kind of values of one type."""
    if depth > _MAX_DEPTH:
        return JSON
    if kind is int:
        return _kind_of_integers(min(values), max(values))
    if kind is list:
        return _list_of(kind_of(chain.from_iterable(values), depth + 1))
    if kind is dict:
        return _kind_of_objects(values, depth)
    return {str: TEXT, float: FLOAT, bool: BOOL}.get(kind, NULL)


def _kind_of_integers(least: int, most: int) -> Kind:
    if least >= -_MAX_EXACT and most <= _MAX_EXACT:
        return INT
    return LONG if least >= -_MAX_INT64 - 1 and most <= _MAX_INT64 else MIXED


def _kind_of_objects(values: list[dict[str, Any]], depth: int) -> Kind:
    keys = values[0].keys()
    if not keys or any(value.keys() != keys for value in values):
        return JSON
    return _object_of(
        {key: kind_of([value[key] for value in values], depth + 1) for key in keys}
    )


def _list_of(item: Kind) -> Kind:
    return JSON if item == JSON else Kind("list", item)


def _object_of(fields: dict[str, Kind]) -> Kind:
    return JSON if JSON in fields.values() else Kind("object", fields=fields)


def arrow_type(kind: Kind) -> "pa.DataType":
    """Return the Arrow type of a column."""
    import pyarrow as pa

    if kind.item:
        return pa.list_(arrow_type(kind.item))
    if kind.fields:
        return pa.struct({key: arrow_type(one) for key, one in kind.fields.items()})
    scalars = {
        "null": pa.null,
        "bool": pa.bool_,
        "int": pa.int64,
        "long": pa.int64,
        "float": pa.float64,
        "json": pa.json_,
    }
    return scalars.get(kind.name, pa.string)()


def column_of(values: list[Any], kind: Kind) -> "pa.Array":
    """Return `values` as a column; each of them is of this kind."""
    import pyarrow as pa

    convert = _converter(kind)
    if convert is not None:
        values = [None if value is None else convert(value) for value in values]
    return pa.array(values, arrow_type(kind))


def _converter(kind: Kind) -> Callable[[Any], Any] | None:
    """Return a function for values other than null; None if they need no change."""
    if kind == JSON:
        return _json
    if kind == MIXED:
        return lambda value: value if isinstance(value, str) else _json(value)
    if kind.item:
        return _list_converter(_converter(kind.item))
    return _object_converter({key: _converter(one) for key, one in kind.fields.items()})


def _list_converter(item: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    if item is None:
        return None
    return lambda values: [None if one is None else item(one) for one in values]


def _object_converter(
    fields: dict[str, Callable[[Any], Any] | None],
) -> Callable[[Any], Any] | None:
    changed = {key: convert for key, convert in fields.items() if convert is not None}
    if not changed:
        return None

    def convert(value: dict[str, Any]) -> dict[str, Any]:
        new = {
            key: to_text(value[key])
            for key, to_text in changed.items()
            if value[key] is not None
        }
        return value | new

    return convert


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
