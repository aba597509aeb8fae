"""`batchchat models`: what the catalog has."""

from typing import TYPE_CHECKING

from batchchat.cli.terminal import options
from batchchat.cli.terminal import streams as terminal

if TYPE_CHECKING:
    from batchchat.cli.backends.batch_view import ListedModel

_HEADINGS = ("model", "context", "$/1M in", "$/1M out", "seen on")


def models(json: options.Json = False) -> int:
    """List the models of the catalog, with their prices for a million tokens.

    batchchat models --json
    """
    from batchchat.cli.backends.batch_view import read_models
    from batchchat.cli.backends.open import open_batches

    batches = open_batches()
    text = batches.models()
    if json:
        terminal.out(text.decode())
        return 0
    listed = read_models(text)
    rows = [_HEADINGS, *map(_row, listed)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    terminal.out(_line(_HEADINGS, widths))
    for model, row in zip(listed, rows[1:], strict=True):
        terminal.out(_line(row, widths))
        if model.description:
            terminal.out(f"  {model.description}")
    if batches.takes_any_model:
        terminal.hint(
            "a hub id or a folder works too: `--model org/name`, `--model ./mine`"
        )
    return 0


def _row(model: "ListedModel") -> tuple[str, ...]:
    length = f"{model.context_length:,}" if model.context_length else "its own"
    price = model.price
    if price is None:
        return model.id, length, "-", "-", ""
    return model.id, length, f"{price.input:f}", f"{price.output:f}", price.date


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    """Return the row, its name and its date to the left, its numbers to the right."""
    name, *numbers, date = row
    cells = map(str.rjust, numbers, widths[1:])
    return "  ".join([name.ljust(widths[0]), *cells, date]).rstrip()
