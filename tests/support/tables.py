"""Random tables of every type that Parquet keeps."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters=".\0"), min_size=1, max_size=6
)

_FLAT: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), _TEXT),
    (pa.large_string(), _TEXT),
    (pa.binary(), st.binary(max_size=5)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.bool_(), st.booleans()),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.decimal128(20, 3), st.decimals("-1e9", "1e9", places=3)),
    (pa.decimal256(50, 6), st.decimals("-1e20", "1e20", places=6)),
    (pa.date32(), st.dates(date(1, 1, 1))),
    (pa.time64("us"), st.times()),
    (pa.timestamp("us"), st.datetimes(datetime(1, 1, 1))),  # noqa: DTZ001 - no zone
    (pa.timestamp("ms", "Europe/Berlin"), st.integers(0, 10**12)),
    (pa.timestamp("ns"), st.integers(0, 10**18)),
    (pa.duration("us"), st.integers(0, 10**9)),
    (pa.dictionary(pa.int32(), pa.string()), _TEXT),
    (pa.json_(), st.just('{"a": [1]}')),
    (pa.uuid(), st.binary(min_size=16, max_size=16)),
]


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return lists, structs and maps of the types and values of `inner`."""

    def lists(pair: tuple[pa.DataType, Any], make: Callable[..., Any]) -> Any:
        return make(pair[0]), _or_none(st.lists(pair[1], max_size=3))

    def structs(first: tuple[pa.DataType, Any], other: tuple[pa.DataType, Any]) -> Any:
        kind = pa.struct({"a": first[0], "b": other[0]})
        return kind, _or_none(st.fixed_dictionaries({"a": first[1], "b": other[1]}))

    def maps(pair: tuple[pa.DataType, Any]) -> Any:
        return (
            pa.map_(pa.string(), pair[0]),
            _or_none(st.lists(st.tuples(_TEXT, pair[1]), max_size=3)),
        )

    return st.one_of(
        st.builds(lists, inner, st.just(pa.list_)),
        st.builds(lists, inner, st.just(pa.large_list)),
        st.builds(structs, inner, inner),
        st.builds(maps, inner),
    )


def _or_none(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


_LEAVES = st.sampled_from([(kind, _or_none(values)) for kind, values in _FLAT])
# Parquet keeps neither dictionaries nor extension types within lists of every version.
_PLAIN = st.sampled_from(
    [
        (kind, _or_none(values))
        for kind, values in _FLAT
        if not (pa.types.is_dictionary(kind) or isinstance(kind, pa.BaseExtensionType))
    ]
)
_TYPES = _LEAVES | st.recursive(_PLAIN, _nested, max_leaves=4)


@st.composite
def tables(draw: st.DrawFn, *, max_rows: int = 12) -> pa.Table:
    """Return a table of a few columns, with nulls."""
    names = draw(st.lists(_NAMES, min_size=1, max_size=4, unique_by=str.lower))
    rows = draw(st.integers(1, max_rows))
    columns = []
    for _ in names:
        kind, values = draw(_TYPES)
        cells = draw(st.lists(values, min_size=rows, max_size=rows))
        columns.append(_array(cells, kind))
    return pa.table(columns, names=names)


def _array(cells: list[Any], kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.BaseExtensionType):
        storage = pa.array(cells, kind.storage_type)
        return pa.ExtensionArray.from_storage(kind, storage)
    if pa.types.is_dictionary(kind):
        return pa.array(cells, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(cells, kind)
