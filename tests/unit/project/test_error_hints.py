"""Every error says what to do next: it gets a hint, or its class has one."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import batchchat
from batchchat.cli import main as command
from batchchat.jobs.errors import BatchchatError, RequestRefusedError

ROOT = Path(batchchat.__path__[0])
PACKAGES = ("api", "cli", "jobs", "workers")
NEEDS_NO_HINT = {RequestRefusedError}
"""It becomes an error line of OpenAI's format, which has no place for a hint."""

_ENGINE = "workers.engine.vllm_"
"""Modules that import vLLM."""


class Made(NamedTuple):
    """A place in the code that makes an error."""

    name: str
    has_hint: bool
    place: str


def source_files() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def errors_made() -> Iterator[Made]:
    """Yield all calls; those of error classes are among them."""
    for file in source_files():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                has_hint = any(keyword.arg == "hint" for keyword in node.keywords)
                yield Made(name, has_hint, f"{file.relative_to(ROOT)}:{node.lineno}")


def kinds() -> dict[str, type[BatchchatError]]:
    """Return all classes of errors by name."""
    for package in PACKAGES:
        folder = [str(ROOT / package)]
        for module in pkgutil.walk_packages(folder, f"batchchat.{package}."):
            if _ENGINE not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found: dict[str, type[BatchchatError]] = {}
    todo: list[type[BatchchatError]] = [BatchchatError]
    while todo:
        kind = todo.pop()
        found[kind.__name__] = kind
        todo += kind.__subclasses__()
    return found


def classes_with_a_hint() -> set[str]:
    """Return the classes whose initializer makes a hint."""
    return {
        node.name
        for file in source_files()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and any(map(_makes_a_hint, ast.walk(node)))
    }


def _makes_a_hint(node: ast.AST) -> bool:
    """Return whether a node is `super().__init__(…, hint=…)` with a hint of its own."""
    if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") != "__init__":
        return False
    hints = [keyword.value for keyword in node.keywords if keyword.arg == "hint"]
    return any(getattr(value, "id", "") != "hint" for value in hints)


@pytest.mark.slow
def test_every_error_that_is_made_has_a_hint():
    known, own = kinds(), classes_with_a_hint()
    without = [
        f"{made.place}: {made.name}"
        for made in errors_made()
        if made.name in known
        and not made.has_hint
        and made.name not in own
        and known[made.name] not in NEEDS_NO_HINT
        and known[made.name].default_hint is None
    ]
    assert without == []


@pytest.mark.slow
def test_the_errors_are_found():
    made = [one.name for one in errors_made()]
    assert made.count("ConfigError") > 20
    assert {"StorageError", "WebhookError", "_AbandonedError"} <= set(kinds())


@pytest.mark.parametrize("own", [None, "do this"])
def test_the_command_prints_a_hint_for_every_error(monkeypatch, capsys, own):
    def fail(*_args, **_kwargs):
        raise BatchchatError("no", hint=own)

    monkeypatch.setattr(command, "app", fail)
    monkeypatch.setattr("sys.argv", ["batchchat", "cancel", "x"])
    with pytest.raises(SystemExit):
        command.main()
    hint = own or "see `batchchat cancel --help`"
    assert capsys.readouterr().err == f"error: no\n\nhint: {hint}\n"
