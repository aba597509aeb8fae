"""The JSON schemas that answers can follow, and the compiler that enforces each.

There are two grammar compilers. xgrammar is the default, but ignores many keywords in
silence: `not`, `required` for a property that is not in `properties`, or anything
beside `$ref`. guidance enforces most of these, and refuses the keywords that it does
not implement. A schema goes to xgrammar only if all of it is known to be enforced
there, otherwise to guidance. If neither enforces it, the request is rejected.

The choice depends on nothing but the schema, so the compiler of a request does not
depend on other requests. `tests/integration/test_schema_keywords.py` measures both
compilers for every keyword.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

from batchchat.jobs.requests.regex_syntax import regex_problem
from batchchat.jobs.requests.schema_branches import are_disjoint, resolve, value_type
from batchchat.jobs.requests.schema_keywords import (
    ANNOTATIONS,
    COMMON_FORMATS,
    DEFINITIONS,
    ENFORCED,
    LISTS,
    MAPS,
    SINGLE,
    UNENFORCED,
    XGRAMMAR_FORMATS,
    XGRAMMAR_ONLY,
)
from batchchat.jobs.requests.xgrammar_keywords import xgrammar_gap

Backend = Literal["xgrammar", "guidance"]

_MIN_SIMILARITY = 0.8
_CACHED_SCHEMAS = 512


class SchemaProblem(NamedTuple):
    """Why a schema cannot be enforced; `path` is empty or begins with a dot."""

    path: str
    message: str


def find_backend(schema: Any, only: Backend | None = None) -> Backend | SchemaProblem:
    """Return the compiler that enforces a schema, or why there is none.

    With `only`, that compiler is the only choice.
    """
    return _find_backend(msgspec.json.encode(schema), only)


@lru_cache(_CACHED_SCHEMAS)
def _find_backend(encoded: bytes, only: Backend | None) -> Backend | SchemaProblem:
    try:
        walk = _Walk(msgspec.json.decode(encoded))
    except (AttributeError, KeyError, TypeError, ValueError):
        return SchemaProblem("", "a keyword has a value of the wrong type")
    if walk.problem is not None:
        return walk.problem
    if walk.xgrammar_gap is None and only != "guidance":
        return "xgrammar"
    if walk.guidance_gap is None and only != "xgrammar":
        return "guidance"
    gaps = {"xgrammar": walk.xgrammar_gap, "guidance": walk.guidance_gap}
    gap = gaps[only or "guidance"]
    assert gap is not None  # noqa: S101 - for the type checker
    path, keyword = gap
    rest = f"by {only}, which the catalog selects"
    if only is None:
        rest = f"together with `{(walk.xgrammar_gap or gap)[1]}` in one schema"
    return SchemaProblem(path, f"`{keyword}` cannot be enforced {rest}")


class _Walk:
    """Visits all parts of a schema and notes what the compilers do not enforce."""

    def __init__(self, root: Any) -> None:
        self.problem: SchemaProblem | None = None
        self.xgrammar_gap: tuple[str, str] | None = None
        self.guidance_gap: tuple[str, str] | None = None
        self._root = root
        self._references: set[str] = set()
        self._visit(root, "")

    def _visit(self, schema: Any, path: str, *, is_object: bool = False) -> None:
        """Visit a schema; `is_object` states that xgrammar takes it for an object's."""
        if isinstance(schema, bool) or self.problem is not None:
            return
        if not isinstance(schema, dict):
            self._refuse(path, "must be a schema: an object or a boolean")
            return
        for keyword, value in schema.items():
            self._check_keyword(keyword, value, schema, path)
        gap = xgrammar_gap(schema, is_object=is_object)
        if gap is not None and self.xgrammar_gap is None:
            self.xgrammar_gap = path, gap
        if "$ref" in schema:
            self._follow(schema["$ref"], path)
        are_objects = schema.get("type") == "object"
        for part, at in _subschemas(schema):
            self._visit(part, f"{path}.{at}", is_object=are_objects and "Of[" in at)

    def _check_keyword(
        self, keyword: str, value: Any, schema: dict[str, Any], path: str
    ) -> None:
        if keyword in UNENFORCED and value is not False:
            hint = '; use "null" in `type`' if keyword == "nullable" else ""
            self._refuse(path, f"the keyword `{keyword}` cannot be enforced{hint}")
        elif keyword == "oneOf" and not are_disjoint(value, self._root):
            self._refuse(
                path,
                "`oneOf` cannot be enforced, as one value may match two of its"
                " schemas; use `anyOf`",
            )
        elif keyword == "format" and value_type(schema) in ("string", None):
            self._check_format(value, path)
        elif keyword == "pattern" and value_type(schema) in ("string", None):
            if wrong := regex_problem(value):
                self._refuse(path, f"`pattern` is not a regular expression: {wrong}")
        elif keyword in XGRAMMAR_ONLY:
            self.guidance_gap = path, keyword
        elif keyword not in (ENFORCED | UNENFORCED | ANNOTATIONS):
            similar = get_close_matches(
                keyword, ENFORCED | UNENFORCED, 1, _MIN_SIMILARITY
            )
            if similar:
                self._refuse(
                    path, f"unknown keyword `{keyword}`; did you mean `{similar[0]}`?"
                )

    def _check_format(self, name: Any, path: str) -> None:
        if name not in XGRAMMAR_FORMATS:
            self._refuse(path, f"the `format` {name!r} cannot be enforced")
        elif name not in COMMON_FORMATS:
            self.guidance_gap = path, "format"

    def _follow(self, reference: Any, path: str) -> None:
        if reference in self._references:
            return
        self._references.add(reference)
        if not isinstance(reference, str) or not reference.startswith("#"):
            self._refuse(path, f"`$ref` must begin with `#`, got {reference!r}")
        elif reference.startswith("#/"):
            try:
                target = resolve(reference, self._root)
            except LookupError:
                self._refuse(path, f"`$ref` {reference!r} refers to nothing")
            else:
                self._visit(
                    target, f".{reference.removeprefix('#/').replace('/', '.')}"
                )

    def _refuse(self, path: str, message: str) -> None:
        if self.problem is None:
            self.problem = SchemaProblem(path, message)


def _subschemas(schema: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yield the schemas that a schema contains, with their paths."""
    for keyword in MAPS:
        if isinstance(named := schema.get(keyword), dict):
            yield from ((part, f"{keyword}.{name}") for name, part in named.items())
    for keyword in (*LISTS, *SINGLE):
        parts = schema.get(keyword)
        if isinstance(parts, list):
            yield from ((part, f"{keyword}[{i}]") for i, part in enumerate(parts))
        elif keyword == "propertyNames" and isinstance(parts, dict):
            yield {"type": "string"} | parts, keyword
        elif parts is not None:
            yield parts, keyword


def enforceable(schema: Any) -> Any:
    """Return an equal schema, without keywords that guidance refuses needlessly.

    `schema` is one that a compiler enforces; so the schemas of `oneOf` exclude each
    other, and it means the same as `anyOf`.
    """
    if not isinstance(schema, dict):
        return schema
    changed = dict(schema)
    for keyword in ("uniqueItems", "nullable"):
        changed.pop(keyword, None)
    for keyword in (*MAPS, *DEFINITIONS):
        if isinstance(named := changed.get(keyword), dict):
            changed[keyword] = {name: enforceable(it) for name, it in named.items()}
    for keyword in (*LISTS, *SINGLE):
        if isinstance(parts := changed.get(keyword), list):
            changed[keyword] = [enforceable(part) for part in parts]
        elif keyword in changed:
            changed[keyword] = enforceable(changed[keyword])
    if (one_of := changed.pop("oneOf", None)) is not None:
        if "anyOf" in changed:
            changed["allOf"] = [*changed.get("allOf", ()), {"anyOf": one_of}]
        else:
            changed["anyOf"] = one_of
    return changed
