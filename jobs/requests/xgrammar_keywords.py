"""Where xgrammar, the default grammar compiler, does not enforce a JSON schema."""

from typing import Any

from batchchat.jobs.requests.schema_branches import types_of, value_type
from batchchat.jobs.requests.schema_keywords import (
    BOUNDS,
    ENFORCED,
    LENGTHS,
    XGRAMMAR_BY_TYPE,
)


def xgrammar_gap(schema: dict[str, Any], *, is_object: bool) -> str | None:
    """Return a keyword that xgrammar would ignore or misunderstand, None without one.

    Looks at the keywords of `schema` only, not at the schemas that it contains. With
    `is_object`, xgrammar takes the schema for that of an object, also without `type`.
    """
    keywords = [name for name in schema if name in ENFORCED]
    if "$ref" in keywords:
        others = [name for name in keywords if name != "$ref"]
        is_path = schema["$ref"] == "#" or schema["$ref"].startswith("#/")
        return next(iter(others), None) if is_path else "$ref"
    if "enum" in keywords or "const" in keywords:
        return _enum_gap(schema, keywords)
    for name in ("anyOf", "oneOf", "allOf"):
        if name in keywords:
            return _combination_gap(name, schema, keywords)
    if "type" in keywords:
        return _typed_gap(schema, keywords)
    if is_object and "properties" in keywords:
        return _object_gap(schema, keywords)
    return next(iter(keywords), None)


def _enum_gap(schema: dict[str, Any], keywords: list[str]) -> str | None:
    """Return what xgrammar would ignore: everything beside the values."""
    values = schema["enum"] if "enum" in schema else [schema["const"]]
    for name in keywords:
        if name not in ("enum", "const", "type"):
            return name
    if "enum" in schema and "const" in schema:
        return "const"
    types = types_of(schema)
    if types and not all(value_type({"const": value}) in types for value in values):
        return "type"
    return None


def _combination_gap(
    name: str, schema: dict[str, Any], keywords: list[str]
) -> str | None:
    """Return what xgrammar would ignore: everything beside a combination.

    It also does not merge the schemas of `allOf`.
    """
    parts = schema[name]
    others = [other for other in keywords if other != name]
    if name == "allOf" and not (isinstance(parts, list) and len(parts) == 1):
        return name
    if others == ["type"] and schema["type"] == "object" and name != "allOf":
        are_objects = all(
            isinstance(part, dict)
            and ("properties" in part or types_of(part) == ["object"])
            for part in parts
        )
        return None if are_objects else "type"
    return next(iter(others), None)


def _typed_gap(schema: dict[str, Any], keywords: list[str]) -> str | None:
    types = types_of(schema)
    allowed = {"type"}.union(*(XGRAMMAR_BY_TYPE.get(it, ()) for it in types))
    for name in keywords:
        if name not in allowed:
            return name
    checks = {
        "string": _string_gap,
        "integer": _bounds_gap,
        "number": _bounds_gap,
        "array": _array_gap,
        "object": _object_gap,
    }
    gaps = (checks[it](schema, keywords) for it in types if it in checks)
    return next((gap for gap in gaps if gap is not None), None)


def _string_gap(schema: dict[str, Any], keywords: list[str]) -> str | None:
    """Return what xgrammar would ignore: all but one of length, pattern and format."""
    kinds = [name for name in ("pattern", "format") if name in keywords]
    has_length = bool(LENGTHS & {*keywords})
    if len(kinds) + has_length > 1:
        return kinds[0]
    pattern = schema.get("pattern", "^$")
    is_anchored = pattern.startswith("^") and pattern.endswith("$")
    # An alternative at the top level has only one of the two anchors, `\\$` is none,
    # and xgrammar cannot compile `\\p{L}`.
    is_safe = is_anchored and not any(
        it in pattern for it in ("|", r"\$", r"\p", r"\P")
    )
    return None if is_safe else "pattern"


def _bounds_gap(schema: dict[str, Any], keywords: list[str]) -> str | None:
    """Return a bound that xgrammar rejects: a boolean, or a fraction for integers."""
    for name in BOUNDS & {*keywords}:
        value = schema[name]
        is_integer = "integer" in types_of(schema)
        if isinstance(value, bool) or (is_integer and value != int(value)):
            return name
    return None


def _array_gap(schema: dict[str, Any], keywords: list[str]) -> str | None:
    if isinstance(schema.get("items"), list):
        return "items"
    if "prefixItems" in keywords and "items" not in keywords:
        sizes = [name for name in ("minItems", "maxItems") if name in keywords]
        return next(iter(sizes), None)
    return None


def _object_gap(schema: dict[str, Any], keywords: list[str]) -> str | None:
    properties = schema.get("properties") or {}
    if {*(schema.get("required") or ())} - {*properties}:
        return "required"
    if "propertyNames" in keywords and (
        "properties" in keywords
        or "unevaluatedProperties" in keywords
        or not isinstance(schema["propertyNames"], dict)
        or ("pattern" in schema["propertyNames"] and len(schema["propertyNames"]) > 1)
    ):
        return "propertyNames"
    return None
