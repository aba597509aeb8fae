"""`batchchat models`: list the models of the catalog."""

from typing import TYPE_CHECKING

from batchchat.cli.terminal import options, streams

if TYPE_CHECKING:
    from batchchat.cli.backends.batch_view import ListedModel


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
    _print([model for model in read_models(text) if model.id == model.root])
    if backend.accepts_any_model:
        streams.hint(
            "other models work too, by Hugging Face ID (`--model org/name`) or"
            " directory (`--model ./folder`)"
        )
    return 0


def _print(models: "list[ListedModel]") -> None:
    from batchchat.cli.terminal.table import Column, table

    columns = [
        Column("model"),
        Column("context", is_number=True),
        Column("$/1M in", is_number=True),
        Column("$/1M out", is_number=True),
        Column("price date"),
    ]
    heading, *lines = table(columns, list(map(_row, models)))
    streams.print_data(heading)
    for model, line in zip(models, lines, strict=True):
        streams.print_data(line)
        if model.description:
            streams.print_data(f"  {model.description}", indent=2)


def _row(model: "ListedModel") -> tuple[str, ...]:
    length = f"{model.context_length:,}" if model.context_length else "default"
    price = model.price
    if price is None:
        return model.id, length, "-", "-", ""
    return model.id, length, f"{price.input:f}", f"{price.output:f}", price.date
