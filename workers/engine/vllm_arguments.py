"""Checks engine arguments against vLLM's `EngineArgs`, without importing vLLM.

The import takes many seconds, so vLLM's source is read instead. What this version of
vLLM declares in another way than expected is left for vLLM itself to check.
"""

import ast
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from batchchat.jobs.errors import ConfigError

_MODULE = "vllm.engine.arg_utils"
_CLASS = "EngineArgs"
_TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "int": int,
    "float": (int, float),
    "str": str,
    "list": list,
    "set": list,  # TOML has no sets
    "dict": dict,
}
_NAMES = {
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "str": "a text",
    "list": "a list",
    "set": "a list",
    "dict": "a table",
}


def check_arguments(model: str, arguments: dict[str, Any]) -> None:
    """Check the names and types of the engine arguments of the model `model`.

    Raises:
        ConfigError: vLLM has no such argument, or its value has another type.

    """
    known = _annotations()
    place = f"`[models.{model}.engine]` of the catalog"
    for name, value in arguments.items() if known else ():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ConfigError(
                f"model `{model}`: vLLM has no engine argument `{name}`",
                hint=f"did you mean `{near[0]}`? Correct it in {place}"
                if near
                else f"remove it from {place}",
            )
        expected = list(_expected(known[name]))
        if expected and not any(_matches(value, one) for one in expected):
            raise ConfigError(
                f"model `{model}`: the engine argument `{name}` must be"
                f" {' or '.join(map(_described, expected))}, not `{value!r}`",
                hint=f"correct it in {place}",
            )


Expected = str | frozenset[Any]
"""The name of a type, or the values that are allowed."""


def _matches(value: Any, expected: Expected) -> bool:
    if isinstance(expected, str):
        is_bool = isinstance(value, bool)
        return isinstance(value, _TYPES[expected]) and is_bool == (expected == "bool")
    return isinstance(value, str | int) and value in expected


def _described(expected: Expected) -> str:
    if isinstance(expected, str):
        return _NAMES[expected]
    return " or ".join(f"`{value}`" for value in sorted(map(str, expected)))


def _expected(annotation: ast.expr) -> Iterator[Expected]:
    """Yield what an annotation allows; nothing if that can't be read."""
    options = [
        _option(one)
        for one in _union(annotation)
        if not (isinstance(one, ast.Constant) and one.value is None)
    ]
    if None not in options:
        yield from (option for option in options if option is not None)


def _union(annotation: ast.expr) -> Iterator[ast.expr]:
    if isinstance(annotation, ast.BinOp):
        yield from _union(annotation.left)
        yield from _union(annotation.right)
    else:
        yield annotation


def _option(annotation: ast.expr) -> Expected | None:
    if isinstance(annotation, ast.Subscript):
        name = ast.unparse(annotation.value)
        if name == "Literal":
            return _literal(annotation, {})
        return name if name in _TYPES else None
    if not isinstance(annotation, ast.Name):
        return None
    if annotation.id in _TYPES:
        return annotation.id
    module = _imports().get(annotation.id)
    assigned = _assignments(module) if module else {}
    alias = assigned.get(annotation.id)
    return _literal(alias, assigned) if alias is not None else None


def _literal(value: ast.expr, assigned: dict[str, ast.expr]) -> frozenset[Any] | None:
    """Return the values of `Literal[…]`, None if it is something else."""
    if isinstance(value, ast.Constant):
        return frozenset([value.value])
    if isinstance(value, ast.Name) and value.id in assigned:
        return _literal(assigned[value.id], assigned)
    if not (isinstance(value, ast.Subscript) and ast.unparse(value.value) == "Literal"):
        return None
    items = value.slice.elts if isinstance(value.slice, ast.Tuple) else [value.slice]
    found = [_literal(item, assigned) for item in items]
    if any(one is None for one in found):
        return None
    return frozenset().union(*(one for one in found if one is not None))


@cache
def _annotations() -> dict[str, ast.expr]:
    """Return the arguments with their types; none if vLLM declares them elsewhere."""
    for node in _parse(_MODULE).body:
        if isinstance(node, ast.ClassDef) and node.name == _CLASS:
            fields = [it for it in node.body if isinstance(it, ast.AnnAssign)]
            return {ast.unparse(field.target): field.annotation for field in fields}
    return {}


@cache
def _imports() -> dict[str, str]:
    """Return the modules that `EngineArgs` imports names from."""
    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(_parse(_MODULE))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


@cache
def _assignments(module: str) -> dict[str, ast.expr]:
    return {
        ast.unparse(node.targets[0]): node.value
        for node in _parse(module).body
        if isinstance(node, ast.Assign)
    }


@cache
def _parse(module: str) -> ast.Module:
    """Return the syntax tree of a module of vLLM, empty if it is not there."""
    package, _, rest = module.partition(".")
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        path = Path(folder, *rest.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return ast.parse(file.read_text("utf-8"))
    return ast.Module(body=[], type_ignores=[])
