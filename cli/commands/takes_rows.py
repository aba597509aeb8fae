"""Gives commands the options that make requests of rows."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any

import typer

from batchchat.cli.terminal.row_arguments import RowArguments

_KEYWORD = inspect.Parameter.KEYWORD_ONLY

_Show = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Print the first N requests, and run nothing."
    ),
]


def takes_rows(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of `RowArguments`, its parameter `rows`.

    Also add `--show`, which prints requests instead of running the command.
    """
    own = list(inspect.signature(command).parameters.values())
    names = [field.name for field in fields(RowArguments)]

    @wraps(command)
    def with_rows(**values: Any) -> int:
        rows = RowArguments(**{name: values.pop(name) for name in names})
        show = values.pop("show")
        if show:
            from batchchat.cli.commands.show_requests import show_requests

            return show_requests(
                values["files"], rows, values.get("model"), show, json=values["json"]
            )
        return command(**values, rows=rows)

    kept = [parameter for parameter in own if parameter.name != "rows"]
    added = [
        inspect.Parameter(
            field.name, _KEYWORD, default=field.default, annotation=field.type
        )
        for field in fields(RowArguments)
    ]
    show = inspect.Parameter("show", _KEYWORD, default=None, annotation=_Show)
    signature = inspect.Signature([*kept, *added, show], return_annotation=int)
    with_rows.__signature__ = signature  # type: ignore[attr-defined]
    return with_rows
