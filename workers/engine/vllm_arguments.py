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


_DATA = "data_parallel_size"
_USE_ENGINES = "start several engines with `--engines`, which share all requests"
_USE_MODEL = "name the model with `--model`, or set `source` of its catalog entry"
_UNSUPPORTED = {
    "model": _USE_MODEL,
    "tokenizer": _USE_MODEL,
    "tokenizer_revision": "set `revision` of the model's catalog entry",
    "revision": "set `revision` of the model's catalog entry",
    "reasoning_parser": "set `reasoning_parser` of the model's catalog entry",
    "skip_tokenizer_init": "requests and answers are texts",
    "tokens_only": "requests and answers are texts",
    "runner": "only models that generate text can run",
    "convert": "only models that generate text can run",
}
"""Arguments that would contradict what was planned, with what to do instead."""


def check_arguments(model: str, arguments: dict[str, Any]) -> None:
    """Check the names and types of the engine arguments of the model `model`.

    Raises:
        ConfigError: vLLM has no such argument, its value has another type, or batches
            cannot be run with it.

    """
    place = f"`[models.{model}.engine]` of the catalog"
    _check(arguments, f"model `{model}`: ", place)


def check_options(arguments: dict[str, Any]) -> None:
    """Check engine arguments of the command line as `check_arguments` does."""
    _check(arguments, "", "`--engine`")


def _check(arguments: dict[str, Any], subject: str, place: str) -> None:
    known = _annotations()
    for name, value in arguments.items():
        _check_support(name, value, subject, place)
        if known and name not in known:
            near = get_close_matches(name, known, n=1)
            raise ConfigError(
                f"{subject}vLLM has no engine argument `{name}`",
                hint=f"did you mean `{near[0]}`? Correct it in {place}"
                if near
                else f"remove it from {place}",
            )
        expected = expected_values(name)
        if expected and not any(matches(value, one) for one in expected):
            raise ConfigError(
                f"{subject}the engine argument `{name}` must be"
                f" {_described(expected)}, not `{value!r}`",
                hint=f"correct it in {place}",
            )


def _check_support(name: str, value: Any, subject: str, place: str) -> None:
    is_data = name.startswith("data_parallel_") and (name, value) != (_DATA, 1)
    instead = _USE_ENGINES if is_data else _UNSUPPORTED.get(name)
    if instead:
        raise ConfigError(
            f"{subject}the engine argument `{name}` is not supported",
            hint=f"remove it from {place}; {instead}",
        )


Expected = str | frozenset[Any] | None
"""The name of a type, the values that are allowed, or None, which is a value too."""


def expected_values(name: str) -> list[Expected]:
    """Return what vLLM allows for an argument; nothing if it is left to vLLM."""
    annotation = _annotations().get(name)
    return [] if annotation is None else list(_expected(annotation))


def matches(value: Any, expected: Expected) -> bool:
    """Return whether a value is one that is allowed."""
    if value is None or expected is None:
        return value is expected
    if isinstance(expected, str):
        is_bool = isinstance(value, bool)
        return isinstance(value, _TYPES[expected]) and is_bool == (expected == "bool")
    return isinstance(value, str | int) and value in expected


def _described(expected: list[Expected]) -> str:
    texts = []
    for one in expected:
        if isinstance(one, str):
            texts.append(_NAMES[one])
        elif one is not None:
            texts += [f"`{value}`" for value in sorted(map(str, one))]
    return " or ".join(texts)


def _expected(annotation: ast.expr) -> Iterator[Expected]:
    """Yield what an annotation allows; nothing if that can't be read."""
    union = list(_union(annotation))
    options = [_option(one) for one in union if not _is_none(one)]
    if None not in options:
        yield from options
        if len(options) < len(union):
            yield None


def _is_none(annotation: ast.expr) -> bool:
    return isinstance(annotation, ast.Constant) and annotation.value is None


def _union(annotation: ast.expr) -> Iterator[ast.expr]:
    if isinstance(annotation, ast.BinOp):
        yield from _union(annotation.left)
        yield from _union(annotation.right)
    else:
        yield annotation


def _option(annotation: ast.expr) -> str | frozenset[Any] | None:
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
