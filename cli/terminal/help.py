"""Build the `--help` texts of the commands from their docstrings."""

import inspect
from collections.abc import Callable

import typer

from batchchat.cli.terminal.setting_warnings import with_setting_warnings


def add_command(
    app: typer.Typer, name: str, function: Callable[..., int], *, logs: bool = False
) -> None:
    """Add a command whose docstring ends with a paragraph of examples.

    A command that `logs` reports mistyped settings in its log.
    """
    text, _, example = (inspect.getdoc(function) or "").rpartition("\n\n")
    command = function if logs else with_setting_warnings(function)
    app.command(name, help=text, epilog=example_section(example))(command)


def example_section(example: str) -> str:
    """Return the last section of a help text, with its line breaks kept."""
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    return f"\b\nExample:\n{lines}"
