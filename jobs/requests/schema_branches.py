"""Whether the alternatives of a JSON schema's `oneOf` exclude each other.

If they do, `oneOf` means the same as `anyOf`, which the grammar compilers enforce.
"""

from itertools import combinations
from typing import Any

_MAX_REFERENCES = 32


def are_disjoint(parts: Any, root: Any) -> bool:
    """Return whether no value can match two of `parts`, as far as it is evident.

    That is so if they have different types or constants, or if they are objects that
    require a property with different constants. `root` is the whole schema.
    """
    schemas = [_follow(part, root) for part in parts]
    return all(_exclude(one, other, root) for one, other in combinations(schemas, 2))


def resolve(reference: str, root: Any) -> Any:
    """Return the part of `root` that a reference such as `#/$defs/x` names.

    Raises `LookupError`.
    """
    found = root
    for name in reference.split("/")[1:]:
        if isinstance(found, list):
            found = found[int(name)] if name.isdecimal() else found[len(found)]
        elif isinstance(found, dict):
            found = found[name.replace("~1", "/").replace("~0", "~")]
        else:
            raise LookupError(reference)  # noqa: TRY004 - the reference is wrong
    return found


def value_type(schema: dict[str, Any]) -> str | None:
    """Return the only type of the values that a schema allows, None if there are more.

    For a `const`, that is the type of the constant.
    """
    if "const" not in schema:
        given = schema.get("type")
        return given if isinstance(given, str) else None
    value = schema["const"]
    if isinstance(value, float) and value.is_integer():
        return "integer"
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    names |= {list: "array", dict: "object", type(None): "null"}
    return names[type(value)]


def types_of(schema: dict[str, Any]) -> list[str]:
    """Return the types that the keyword `type` lists."""
    given = schema.get("type", [])
    return [given] if isinstance(given, str) else list(given)


def _follow(schema: Any, root: Any) -> Any:
    """Return the schema that a schema refers to, else the schema itself."""
    for _ in range(_MAX_REFERENCES):
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        try:
            schema = resolve(reference, root)
        except LookupError:
            break
    return schema


def _exclude(one: Any, other: Any, root: Any) -> bool:
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return False
    values, others = _constants(one), _constants(other)
    if values is not None and others is not None:
        return values.isdisjoint(others)
    types = _types(one) & _types(other)
    return not types or (types == {"object"} and _differ(one, other, root))


def _differ(one: dict[str, Any], other: dict[str, Any], root: Any) -> bool:
    """Return whether both objects require a property, with different constants."""
    for name in {*one.get("required", ())} & {*other.get("required", ())}:
        values, others = (
            _constants(_follow(schema.get("properties", {}).get(name), root))
            for schema in (one, other)
        )
        if values and others and values.isdisjoint(others):
            return True
    return False


def _constants(schema: Any) -> set[str] | None:
    """Return the values of an enumeration in a comparable form, None without one."""
    if not isinstance(schema, dict):
        return None
    if "const" in schema:
        return {_comparable(schema["const"])}
    return {_comparable(it) for it in schema["enum"]} if "enum" in schema else None


def _comparable(value: Any) -> str:
    is_number = isinstance(value, float) and value.is_integer()
    return repr(int(value)) if is_number else repr(value)


def _types(schema: dict[str, Any]) -> set[str]:
    every = {"null", "boolean", "integer", "number", "string", "array", "object"}
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        types = {value_type({"const": value}) or "" for value in values}
    else:
        given = schema.get("type", every)
        types = {given} if isinstance(given, str) else {*given}
    return types | {"integer"} if "number" in types else types
