"""Build the `--help` texts of the commands from their docstrings."""

import inspect
from collections.abc import Callable

import typer


def add_command(app: typer.Typer, name: str, function: Callable[..., int]) -> None:
    """Add a command whose docstring ends with a paragraph of examples."""
    text, _, example = (inspect.getdoc(function) or "").rpartition("\n\n")
    app.command(name, help=text, epilog=example_section(example))(function)


def example_section(example: str) -> str:
    """Return the last section of a help text, with its line breaks kept."""
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    return f"\b\nExample:\n{lines}"
