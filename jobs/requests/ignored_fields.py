"""Removes the fields of a line that have no effect, and lists them.

Only lines that the strict decoder rejects are searched for such fields.
"""

from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, inspect

from batchchat.jobs.requests.extra_fields import EXTRA_FIELDS, PART_TEXTS, ExtraField
from batchchat.jobs.requests.json_value import (
    InvalidJsonError,
    JsonObject,
    has_duplicate_keys,
    read_json,
)
from batchchat.jobs.requests.parameters import PARAMETERS
from batchchat.jobs.requests.schema import BodyLine, Line, Request, TextPart

COUNTED_PARAMETERS = {
    name: ExtraField(neutral=parameter.neutral)
    for name, parameter in PARAMETERS.items()
    if not parameter.has_effect and not parameter.is_returned
}
"""Fields of `PARAMETERS` that have no effect, by name."""

_LINE, _BODY_LINE = map(inspect.type_info, (Line, BodyLine))


def ignored_fields(request: Request) -> list[str]:
    """Return the fields of a request that ask for something, but have no effect."""
    own = (
        name
        for name, field in COUNTED_PARAMETERS.items()
        if (value := getattr(request.body, name)) is not UNSET
        and not field.asks_for_nothing(value)
    )
    return [*own, *request.removed_fields]


class Rest(NamedTuple):
    """What remains of a line, and the fields that it asked for something with."""

    raw: bytes
    removed: tuple[str, ...]


def without_ignored_fields(raw: bytes) -> Rest | None:
    """Return a line without the extra fields that have no effect.

    None if it has no such fields, or can't be read.
    """
    try:
        value = read_json(raw)
        removal = remove_ignored_fields(value)
        if not removal.has_changed or has_duplicate_keys(value):
            return None
        return Rest(msgspec.json.encode(value), tuple(sorted(removal.names)))
    except (InvalidJsonError, RecursionError, UnicodeEncodeError):
        return None


def is_body_only(value: JsonObject) -> bool:
    """Return whether a line is a body without the fields around it."""
    return (
        value.get("body") is None and "messages" in value and value.get("url") is None
    )


class Removal:
    """Removes fields of JSON values, in place."""

    def __init__(self) -> None:
        """Start with nothing removed."""
        self.has_changed = False
        self.names: set[str] = set()
        """The removed fields that asked for something, such as `messages[].weight`."""

    def visit(self, expected: inspect.Type, value: Any, at: str) -> None:
        """Remove what has no effect from the field `at`, which should have a type."""
        if isinstance(value, list):
            for item_type in _members(expected, inspect.ListType):
                for item in value:
                    self.visit(item_type.item_type, item, f"{at}[]")
        elif isinstance(value, JsonObject):
            for struct in _members(expected, inspect.StructType):
                self._visit_object(struct, value, f"{at}." if at else "")

    def _visit_object(
        self, struct: inspect.StructType, value: JsonObject, prefix: str
    ) -> None:
        if struct.cls is TextPart:
            self._name_text(value)
        extras, fields = EXTRA_FIELDS.get(struct.cls, {}), _field_types(struct.cls)
        for name, item in [*value.items()]:
            extra = extras.get(name)
            if extra is not None:
                self._remove(extra, name, value, prefix)
            elif name in fields:
                self.visit(
                    fields[name], item, "" if struct.cls is Line else prefix + name
                )
            elif item is None:
                self._delete(name, value)

    def _remove(
        self, extra: ExtraField, name: str, value: JsonObject, prefix: str
    ) -> None:
        """Remove an extra field, unless it must be rejected."""
        if extra.asks_for_nothing(value[name]):
            self._delete(name, value)
        elif not extra.reason or any(value.get(other) for other in extra.copy_of):
            self.names.add(prefix + name)
            self._delete(name, value)

    def _name_text(self, part: JsonObject) -> None:
        """Rename the text of a part that has another type of text."""
        kind = part.get("type")
        field = PART_TEXTS.get(kind) if isinstance(kind, str) else None
        if field is not None and isinstance(part.get(field), str):
            part["text"], part["type"] = part.pop(field), "text"
            self.has_changed = True

    def _delete(self, name: str, value: JsonObject) -> None:
        del value[name]
        self.has_changed = True


def remove_ignored_fields(value: Any) -> Removal:
    """Remove the fields that have no effect from a line, in place."""
    removal = Removal()
    if isinstance(value, JsonObject):
        removal.visit(_BODY_LINE if is_body_only(value) else _LINE, value, "")
    return removal


def _members(expected: inspect.Type, kind: type) -> list[Any]:
    """Return the type, or the members of a union, that are of one kind."""
    if isinstance(expected, inspect.Metadata):
        return _members(expected.type, kind)
    if isinstance(expected, inspect.UnionType):
        return [one for member in expected.types for one in _members(member, kind)]
    return [expected] if isinstance(expected, kind) else []


@cache
def _field_types(struct: type) -> dict[str, inspect.Type]:
    """Return the types of a struct's fields."""
    expected = inspect.type_info(struct)
    fields = getattr(expected, "fields", ())
    return {field.encode_name: field.type for field in fields}
