"""A template whose variables are the columns of a table."""

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Any

from jinja2 import nodes
from jinja2.runtime import Undefined

from batchchat.jobs.errors import ConfigError, UsageError
from batchchat.jobs.prompts.limited_template import (
    LimitedTemplate,
    RenderLimits,
    TemplateLimitError,
)
from batchchat.jobs.rows.row_columns import ROW
from batchchat.jobs.rows.row_environment import Null, RowEnvironment

_LIMITS = RenderLimits()
_MAX_SLOW_ROWS = 32
"""Rows whose rendering may exceed the limits before no more are rendered."""

_MAX_SHOWN = 12
_SYNTAX = "see https://jinja.palletsprojects.com/en/stable/templates"


class RowTemplate(LimitedTemplate):
    """A compiled template.

    `columns` are those that it reads, and `is_expression` states whether it is a single
    `{{ … }}`, so that it has a value of any type.
    """

    environment_class = RowEnvironment
    input_name = "the row"
    hint = _SYNTAX

    def __init__(self, source: str, label: str, columns: Collection[str]) -> None:
        """Compile `source`, which may read `columns`; errors call it `label`.

        Raises:
            UsageError: `source` is no template, is too large, or reads other columns.

        """
        try:
            super().__init__(source, label, _LIMITS)
        except ConfigError as error:
            raise UsageError(error.message, hint=error.hint) from None
        self.label = label
        self.columns = sorted(self._columns(columns))
        self._outputs = list(_outputs(self.tree))
        self.is_expression = len(self._outputs) == 1 and not isinstance(
            self._outputs[0], nodes.TemplateData
        )
        self._slow_rows = 0

    def plain_pieces(self) -> list[tuple[str, bool]] | None:
        """Return its texts and columns in turn, each with whether it is a column.

        Return None if it has anything else, such as a filter or a condition.
        """
        if any(not isinstance(part, nodes.Output) for part in self.tree.body):
            return None
        pieces = [_plain_piece(part) for part in self._outputs]
        found = [piece for piece in pieces if piece is not None]
        return found if len(found) == len(pieces) else None

    def text(self, variables: dict[str, Any]) -> str:
        """Return the text of a row. Raises any error of the template."""
        text: str = self._counting(lambda: self.render(variables))
        return text

    def value(self, variables: dict[str, Any]) -> Any:
        """Return the value of a template that is an expression; null is None.

        Raises any error of the template.
        """
        [value] = self._counting(
            lambda: self._limited(lambda: list(self._pieces(variables)))
        )
        if isinstance(value, Null):
            return None
        if isinstance(value, Undefined):
            str(value)  # raises its error
        return value

    def _counting(self, render: Any) -> Any:
        if self._slow_rows >= _MAX_SLOW_ROWS:
            raise UsageError(
                f"{self.label} exceeds the limits of time or memory for"
                f" {_MAX_SLOW_ROWS} rows",
                hint="simplify the template",
            )
        try:
            return render()
        except TemplateLimitError:
            self._slow_rows += 1
            raise

    def _columns(self, columns: Collection[str]) -> Iterator[str]:
        names = self.variables - set(self._template.globals)
        has_row = ROW in names and ROW not in columns
        if has_row:
            names = names - {ROW}
            fields = _fields_of_row(self.tree)
            names |= set(columns) if fields is None else fields
        self.reads_row = has_row
        for name in sorted(names):
            require_column(name, columns, self.label)
            yield name


def require_column(name: str, columns: Collection[str], label: str) -> None:
    """Raise `UsageError` if there is no such column; `label` is what needs it."""
    if name in columns:
        return
    near = get_close_matches(name, columns, n=1)
    shown = ", ".join(f"`{each}`" for each in list(columns)[:_MAX_SHOWN])
    more = ", …" if len(columns) > _MAX_SHOWN else ""
    meant = f"did you mean `{near[0]}`? " if near else ""
    raise UsageError(
        f"{label} names `{name[:80]}`, but the rows have no such column",
        hint=f"{meant}the columns are {shown}{more}",
    )


def _outputs(tree: nodes.Template) -> Iterator[nodes.Node]:
    for part in tree.body:
        if isinstance(part, nodes.Output):
            yield from part.nodes
        else:
            yield part


def _plain_piece(part: nodes.Node) -> tuple[str, bool] | None:
    if isinstance(part, nodes.TemplateData):
        return part.data, False
    return (part.name, True) if isinstance(part, nodes.Name) else None


def _fields_of_row(tree: nodes.Template) -> set[str] | None:
    """Return the fields of `row` that are read; None if `row` is read as a whole."""
    fields = set()
    lookups = 0
    for kind, name in ((nodes.Getattr, "attr"), (nodes.Getitem, "arg")):
        for node in tree.find_all(kind):
            owner = getattr(node, "node", None)
            if isinstance(owner, nodes.Name) and owner.name == ROW:
                field = getattr(node, name)
                fields.add(getattr(field, "value", field))
                lookups += 1
    uses = sum(node.name == ROW for node in tree.find_all(nodes.Name))
    is_known = uses == lookups and all(isinstance(field, str) for field in fields)
    return fields if is_known else None
