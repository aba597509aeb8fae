"""The keywords of JSON Schema, by the grammar compilers that enforce them.

Measured by `tests/integration/test_schema_keywords.py`.
"""

MAPS = ("properties", "patternProperties")
"""Keywords whose values are schemas by name."""

LISTS = ("prefixItems", "anyOf", "oneOf", "allOf")
"""Keywords whose values are lists of schemas."""

SINGLE = (
    "additionalProperties",
    "additionalItems",
    "items",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
)
"""Keywords whose values are schemas; `items` may be a list of them."""

DEFINITIONS = ("$defs", "definitions")
OTHER_SCHEMAS = ("not", "if", "then", "else", "contains", "contentSchema")
"""Keywords that no compiler enforces, whose values are schemas."""

LENGTHS = frozenset({"minLength", "maxLength"})
BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_ITEMS = frozenset({"items", "prefixItems", "minItems", "maxItems"})
_PROPERTIES = frozenset(
    {"properties", "required", "minProperties", "maxProperties", "additionalProperties"}
)
XGRAMMAR_BY_TYPE = {
    "null": frozenset[str](),
    "boolean": frozenset[str](),
    "integer": BOUNDS,
    "number": BOUNDS,
    "string": LENGTHS | {"pattern", "format"},
    "array": _ITEMS | {"unevaluatedItems"},
    "object": _PROPERTIES | {"propertyNames", "unevaluatedProperties"},
}
"""The keywords that xgrammar enforces beside each `type`."""

XGRAMMAR_ONLY = frozenset(
    {"propertyNames", "unevaluatedItems", "unevaluatedProperties"}
)
"""Keywords that guidance refuses."""

_COMBINING = frozenset({"enum", "const", "$ref", "anyOf", "oneOf", "allOf", "type"})
_GUIDANCE_ONLY = frozenset({"multipleOf", "patternProperties", "additionalItems"})
ENFORCED = (
    _COMBINING
    | _GUIDANCE_ONLY
    | LENGTHS
    | BOUNDS
    | _ITEMS
    | _PROPERTIES
    | XGRAMMAR_ONLY
    | {"pattern", "format"}
)
"""Keywords that a compiler enforces, xgrammar some of them only in some places."""

UNENFORCED = frozenset(
    {
        *("not", "if", "then", "else", "contains", "minContains", "maxContains"),
        *("uniqueItems", "dependentRequired", "dependentSchemas", "dependencies"),
        *("$dynamicRef", "$recursiveRef", "nullable"),
    }
)
"""Keywords that neither compiler enforces."""

ANNOTATIONS = frozenset(
    {
        *("$schema", "$id", "$comment", "$anchor", "$defs", "definitions", "title"),
        *("description", "default", "example", "examples", "deprecated", "readOnly"),
        *("writeOnly", "contentEncoding", "contentMediaType", "contentSchema"),
        "discriminator",
    }
)
"""Keywords that do not restrict values."""

COMMON_FORMATS = frozenset(
    {
        *("email", "date", "time", "date-time", "duration", "ipv4", "ipv6"),
        *("hostname", "uuid", "uri"),
    }
)
"""Values of `format` that both compilers enforce."""

XGRAMMAR_FORMATS = COMMON_FORMATS | {
    *("uri-reference", "uri-template", "json-pointer", "relative-json-pointer")
}
