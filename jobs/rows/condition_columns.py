"""The columns that a condition compares, and the values that fit their types."""

from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from batchchat.jobs.errors import UsageError
from batchchat.jobs.rows.row_errors import listed

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

_MANY = 40
"""Columns that an error lists at most."""


@dataclass(frozen=True)
class Column:
    """A column of a condition, or a field of a nested one."""

    name: str
    path: tuple[str, ...]
    type: "pa.DataType"
    condition: str

    @property
    def expression(self) -> "pc.Expression":
        """The values of the column."""
        import pyarrow.compute as pc

        return pc.field(*self.path)

    def as_boolean(self) -> "pc.Expression":
        """Return the values of a column of booleans. Raises `UsageError`."""
        import pyarrow as pa

        if not pa.types.is_boolean(self.type):
            raise self._error(
                f"has the type `{self.type}` and is neither true nor false",
                f"compare it: `{self.name} = …`, `{self.name} is not null`",
            )
        return self.expression

    def scalar(self, value: Any) -> "pa.Scalar":
        """Return a value that the column can be compared with. Raises `UsageError`."""
        import pyarrow as pa

        expected = _expected(self.type)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = {
            "a number": is_number,
            "text": isinstance(value, str),
            "true or false": isinstance(value, bool),
            "a time in ISO format": isinstance(value, str),
        }
        if expected is None:
            raise self._error(
                f"has the type `{self.type}`, which can't be compared",
                f"only `{self.name} is null` and `is not null` are possible",
            )
        if not fits[expected]:
            shown = f"'{value}'" if isinstance(value, str) else value
            raise self._error(
                f"has the type `{self.type}` and can't be compared with `{shown}`",
                f"compare it with {expected}",
            )
        if pa.types.is_decimal(self.type):
            return pa.scalar(Decimal(repr(value)))
        if expected != "a time in ISO format":
            return pa.scalar(value)
        try:
            return pa.scalar(value).cast(self.type)
        except pa.ArrowException:
            raise self._error(
                f"has the type `{self.type}`, and `'{value}'` is no such time",
                "write times like '2025-01-31' or '2025-01-31T12:00:00'",
            ) from None

    def _error(self, reason: str, hint: str) -> UsageError:
        message = f"in the condition `{self.condition}`, column `{self.name}` {reason}"
        return UsageError(message, hint=hint)


def find_column(name: str, schema: "pa.Schema", condition: str) -> Column:
    """Return a column, or a field of a nested one (`meta.lang`). Raises `UsageError`.

    The name of a column may itself contain a dot.
    """
    path = (name,) if name in schema.names else tuple(name.split("."))
    kind, known = None, schema
    for part in path:
        if part not in known.names:
            raise _unknown(name, schema, condition)
        kind = known.field(part).type
        known = _Fields(kind)
    return Column(name, path, kind, condition)


class _Fields:
    """The fields of a nested type, none if it is no struct."""

    def __init__(self, kind: "pa.DataType") -> None:
        import pyarrow as pa

        fields = list(kind) if pa.types.is_struct(kind) else []
        self._fields = {field.name: field for field in fields}
        self.names = list(self._fields)

    def field(self, name: str) -> "pa.Field":
        return self._fields[name]


def _unknown(name: str, schema: "pa.Schema", condition: str) -> UsageError:
    near = get_close_matches(name, schema.names, n=1)
    folded = [one for one in schema.names if one.lower() == name.lower()]
    meant = next(iter([*folded, *near]), None)
    hint = f"the columns are {listed(schema.names, _MANY)}"
    if meant is not None:
        hint = f"did you mean `{meant}`? {hint[0].upper()}{hint[1:]}"
    return UsageError(
        f"there is no column `{name}`, which the condition `{condition}` names",
        hint=hint,
    )


def _expected(kind: "pa.DataType") -> str | None:
    """Return what values of a type are compared with, None if they can't be."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _expected(kind.value_type)
    if types.is_boolean(kind):
        return "true or false"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "a number"
    if (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
    ):
        return "text"
    if types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind):
        return "a time in ISO format"
    return "text" if types.is_null(kind) else None
