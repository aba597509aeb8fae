"""Errors of settings and of the catalog, in terms of what the user has written.

The libraries that check the values have words of their own, so the allowed values are
described here, from the same types.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import SecretStr
from pydantic.fields import FieldInfo

_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    Decimal: "a number",
    str: "a text",
    SecretStr: "a text",
    Path: "a path",
    list: "a list",
    tuple: "a list",
    dict: "a table",
}
_BOUNDS = ("ge", "gt", "le")
_MAX_VALUE_CHARS = 80
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]|\[\.\.\.\]")


def wrong_value(name: str, kind: Any, value: object, *, is_secret: bool = False) -> str:
    """Return the message for a value that `name` can't have.

    `kind` is the type of the allowed values, as it is annotated.
    """
    got = "" if is_secret else f", not {_shown(value)}"
    return f"{name} must be {allowed(kind)}{got}"


def unknown_field(place: str, name: str, known: Mapping[str, Any]) -> str:
    """Return the message for a field that does not exist."""
    near = get_close_matches(name, known, n=1)
    meant = f"; did you mean `{near[0]}`?" if near else ""
    return f"{place} has no field `{name[:_MAX_VALUE_CHARS]}`{meant}"


def allowed(kind: Any) -> str:
    """Return what the values of a type are: `an integer from 1 to 100`."""
    limits: dict[str, float] = {}
    kind = _plain(kind, limits)
    if get_origin(kind) is Literal:
        *first, last = (f"`{choice}`" for choice in get_args(kind))
        return f"{', '.join(first)} or {last}" if first else last
    elements = [it for it in get_args(kind) if it is not Ellipsis]
    name = _NAMES.get(get_origin(kind) or kind, "a table")
    if name == "a list" and elements:
        return f"a list of {allowed(elements[0]).partition(' ')[2]}s"
    return name + _range(limits)


def type_at(kind: Any, path: Sequence[str | int]) -> Any:
    """Return the type of what is at `path` in a value of type `kind`."""
    for step in path:
        kind = _plain(kind, {})
        if get_origin(kind) in (list, tuple, dict):
            kind = get_args(kind)[-1 if get_origin(kind) is dict else 0]
        elif isinstance(step, str):
            kind = field_types(kind).get(step, dict)
    return kind


def field_types(kind: Any) -> dict[str, Any]:
    """Return the types of the fields of a class, with their limits."""
    types = get_type_hints(kind, include_extras=True)
    fields: dict[str, FieldInfo] = getattr(kind, "model_fields", {})
    for name, field in fields.items():
        for limit in field.metadata:
            types[name] = Annotated[types[name], limit]
    return types


def parse_path(path: str) -> list[str | int]:
    """Return the steps of a path as msgspec writes it: `$.stop[0]`."""
    return [name or int(at or 0) for name, at in _STEP.findall(path)]


def value_at(value: Any, path: Sequence[str | int]) -> Any:
    """Return what is at `path` in `value`, None if there is nothing."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as it is written in TOML: `price.input`, `stop[0]`."""
    text = "".join(f"[{it}]" if isinstance(it, int) else f".{it}" for it in path)
    return text.removeprefix(".")


def _limits(note: Any) -> dict[str, float]:
    """Return the limits in an annotation of pydantic or msgspec."""
    notes = getattr(note, "metadata", [note])
    found = ((bound, getattr(it, bound, None)) for it in notes for bound in _BOUNDS)
    return {bound: limit for bound, limit in found if limit is not None}


def _plain(kind: Any, limits: dict[str, float]) -> Any:
    """Return a type without null and limits, and add the limits to `limits`."""
    while True:
        if get_origin(kind) is Annotated:
            kind, *notes = get_args(kind)
            for note in notes:
                limits |= _limits(note)
        elif get_origin(kind) in (Union, UnionType):
            kind = next(it for it in get_args(kind) if it is not NoneType)
        else:
            return kind


def _range(limits: Mapping[str, float]) -> str:
    if "ge" in limits and "le" in limits:
        return f" from {limits['ge']:,} to {limits['le']:,}"
    low = f" of at least {limits['ge']:,}" if "ge" in limits else ""
    low = f" above {limits['gt']:,}" if "gt" in limits else low
    return low + (f" and at most {limits['le']:,}" if "le" in limits else "")


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    text = value if isinstance(value, str) else repr(value)
    cut = text[:_MAX_VALUE_CHARS] + ("…" if len(text) > _MAX_VALUE_CHARS else "")
    return f"`{cut}`" if cut else "an empty text"
