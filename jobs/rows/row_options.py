"""How the rows of a batch's input become requests."""

from typing import Any

import msgspec

from batchchat.jobs.errors import UsageError

MAX_SAMPLES = 1_000


class RowOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How rows become requests, as it is stored with the batch.

    `prompt`, `prompt_column`, or the `messages` of `template` say what is asked. Row
    `r`, counted from 0, and sample `s` are line `r * samples + s + 1` of the request
    lines.
    """

    prompt: str | None = None
    """A Jinja template of the user's message, whose variables are the columns."""

    prompt_column: str | None = None
    """The column of the user's message, or of a list of messages."""

    template: dict[str, Any] | None = None
    """The body of a request, whose strings are templates."""

    system: str | None = None
    """A template of the system message, before the other messages."""

    samples: int = 1
    """Requests per row, each with a seed of its own."""

    id_column: str | None = None
    """The column of the custom_ids; without it they are `row-1`, `row-2`, …"""

    where: str | None = None
    """Which rows are used; see `row_filter.py`."""

    limit: int | None = None
    """How many rows are used, from the first one on."""

    sample: int | None = None
    """How many rows are chosen at random."""

    def check(self) -> None:
        """Raise `UsageError` if the options contradict each other."""
        messages = "messages" in (self.template or {})
        given = [
            name
            for name, is_given in (
                ("prompt", self.prompt is not None),
                ("prompt_column", self.prompt_column is not None),
                ("template", messages),
            )
            if is_given
        ]
        if len(given) > 1:
            both = " and ".join(f"`{name}`" for name in given)
            raise UsageError(f"{both} both give the messages", hint="choose one")
        if not given:
            what = "the template has no `messages`" if self.template else "no prompt"
            hint = "add `messages` to it, `prompt` or `prompt_column`"
            raise UsageError(f"{what}: nothing says what to ask", hint=hint)
        if not 0 < self.samples <= MAX_SAMPLES:
            message = f"`samples` is {self.samples}, which is not 1 to {MAX_SAMPLES}"
            raise UsageError(message, hint="use a batch for each part of them")

    @property
    def model(self) -> str | None:
        """The `model` of the template, None if it has none."""
        model = (self.template or {}).get("model")
        return model if isinstance(model, str) else None

    def require_model(self) -> None:
        """Raise `UsageError` unless the template names a model."""
        if self.model is None:
            raise UsageError(
                "the requests of the rows name no model",
                hint="name one with `--model NAME`, or as `model` in the template",
            )

    def row_of(self, line: int) -> int:
        """Return the number of the row that a request line was made of, from 1."""
        return (line - 1) // self.samples + 1


def row_name(rows: RowOptions | None, line: int) -> str:
    """Return the row of a request line in words, "" if the batch has no rows."""
    return f"row {rows.row_of(line):,}" if rows is not None else ""


def place_of(rows: RowOptions | None, line: int) -> str:
    """Return where a request line, or the row that it was made of, is in the input."""
    return f"on line {line:,}" if rows is None else f"in {row_name(rows, line)}"
