"""The command-line options that make requests of rows."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from batchchat.jobs.rows.row_options import RowOptions

_OF_MESSAGES = ("prompt", "prompt_column", "template")


@dataclass(frozen=True)
class RowArguments:
    """The options as they were typed; without any, the input holds requests."""

    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEMPLATE",
            help="Make a request of each row of a table: a Jinja template of the user's"
            " message, such as '{{ question }}', or @FILE.",
        ),
    ] = None
    prompt_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Make a request of each row: the column of its text, or messages.",
        ),
    ] = None
    template: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Make a request of each row: a YAML or JSON file with the body of a"
            " request, whose strings are templates.",
        ),
    ] = None
    system: Annotated[
        str | None,
        typer.Option(
            metavar="TEMPLATE", help="System message of all rows: a template, or @FILE."
        ),
    ] = None
    samples: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=1_000, help="Requests per row."),
    ] = 1
    id_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of the custom_ids.  [default: row-1, row-2, …]",
        ),
    ] = None
    where: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION", help="Use only these rows, such as \"lang == 'en'\"."
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Use only the first N rows."),
    ] = None
    sample: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Use only N rows, chosen at random."),
    ] = None

    def options(self) -> "RowOptions | None":
        """Return how rows become requests, None if the input holds requests.

        Raises:
            UsageError: the options contradict each other, or a file can't be read.

        """
        if not self._has_prompt:
            self._require_none()
            return None
        from batchchat.cli.terminal.template_file import read_template, text_or_file
        from batchchat.jobs.rows.row_options import RowOptions

        options = RowOptions(
            prompt=text_or_file(self.prompt, "--prompt"),
            prompt_column=self.prompt_column,
            template=None if self.template is None else read_template(self.template),
            system=text_or_file(self.system, "--system"),
            samples=self.samples,
            id_column=self.id_column,
        )
        options.check()
        return options

    def first_rows(self, number: int) -> "RowArguments":
        """Return the options that use only the first `number` rows of those chosen."""
        if self.sample is not None or not self._has_prompt:
            return self
        return replace(self, limit=min(number, self.limit or number))

    @property
    def _has_prompt(self) -> bool:
        return any(getattr(self, name) is not None for name in _OF_MESSAGES)

    def words(self) -> list[str]:
        """Return the options as they are typed."""
        return [word for given in self._given() for word in given]

    def _given(self) -> Iterator[tuple[str, str]]:
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                yield f"--{field.name.replace('_', '-')}", str(value)

    def _require_none(self) -> None:
        """Raise `UsageError` if an option was given that needs rows."""
        for name, _ in self._given():
            from batchchat.jobs.errors import UsageError

            raise UsageError(
                f"`{name}` needs rows, and nothing says how they become requests",
                hint="add `--prompt '{{ COLUMN }}'`, `--prompt-column COLUMN` or"
                " `--template FILE`",
            )
