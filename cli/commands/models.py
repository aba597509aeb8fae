"""`batchchat models`: list the models of the catalog."""

from typing import TYPE_CHECKING

from batchchat.cli.terminal import options, streams

if TYPE_CHECKING:
    from batchchat.cli.backends.batch_view import ListedModel

_HEADINGS = ("model", "context", "$/1M in", "$/1M out", "price date")


def models(json: options.Json = False) -> int:
    """List the models of the catalog with their prices.

    Prices are in dollars per million input and output tokens.

    batchchat models
    """
    from batchchat.cli.backends.batch_view import read_models
    from batchchat.cli.backends.open import open_backend

    backend = open_backend()
    text = backend.models()
    if json:
        streams.print_encoded(text)
        return 0
    listed = [model for model in read_models(text) if model.id == model.root]
    rows = [_HEADINGS, *map(_row, listed)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    streams.print_data(_line(_HEADINGS, widths))
    for model, row in zip(listed, rows[1:], strict=True):
        streams.print_data(_line(row, widths))
        if model.description:
            streams.print_data(f"  {model.description}")
    if backend.accepts_any_model:
        streams.hint(
            "other models work too, by Hugging Face ID (`--model org/name`) or"
            " directory (`--model ./folder`)"
        )
    return 0


def _row(model: "ListedModel") -> tuple[str, ...]:
    length = f"{model.context_length:,}" if model.context_length else "default"
    price = model.price
    if price is None:
        return model.id, length, "-", "-", ""
    return model.id, length, f"{price.input:f}", f"{price.output:f}", price.date


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    """Return a row with its name and date aligned left, its numbers right."""
    name, *numbers, date = row
    cells = map(str.rjust, numbers, widths[1:])
    return "  ".join([name.ljust(widths[0]), *cells, date]).rstrip()
