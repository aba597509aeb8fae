"""Build the `--help` texts of the commands from their docstrings."""

import inspect
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from batchchat.cli.terminal import streams
from batchchat.cli.terminal.setting_warnings import with_setting_warnings


class _PrintsHelp:
    """Prints help as the other commands print data, also to a full or closed stdout."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option `--help`."""
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.callback = _print_help
        return option


class Command(_PrintsHelp, TyperCommand):
    """A command."""


class Group(_PrintsHelp, TyperGroup):
    """A command that has subcommands."""


def _print_help(context: Any, _: object, is_requested: bool) -> None:
    if is_requested and not context.resilient_parsing:
        streams.print_text(f"{context.get_help()}\n")
        context.exit()


def add_command(
    app: typer.Typer, name: str, function: Callable[..., int], *, logs: bool = False
) -> None:
    """Add a command whose docstring ends with a paragraph of examples.

    A command that `logs` reports mistyped settings in its log.
    """
    text, _, example = (inspect.getdoc(function) or "").rpartition("\n\n")
    command = function if logs else with_setting_warnings(function)
    app.command(name, cls=Command, help=text, epilog=example_section(example))(command)


def example_section(example: str) -> str:
    """Return the last section of a help text, with its line breaks kept."""
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    return f"\b\nExample:\n{lines}"
