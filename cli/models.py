"""`batchchat models`: what the catalog has."""

from typing import TYPE_CHECKING, Any

from cli import options, terminal

if TYPE_CHECKING:
    from jobs.catalog import Model


def models(json: options.Json = False) -> int:
    """List the models of the catalog, with their prices.

    batchchat models --json
    """
    from cli.session import open_session

    catalog = open_session().catalog
    if json:
        data = [_object(model) for model in catalog]
        terminal.out_json({"object": "list", "data": data})
        return 0
    for model in catalog:
        terminal.out(f"{model.name}  {_price(model)}")
        if model.description:
            terminal.out(f"  {model.description}")
    terminal.hint(
        "a hub id or a folder works too: `--model org/name`, `--model ./mine`"
    )
    return 0


def _price(model: "Model") -> str:
    price = model.price
    if price is None:
        return "no price"
    per = f"${price.input:f} in, ${price.output:f} out for a million tokens"
    return f"{per} ({price.date})"


def _object(model: "Model") -> dict[str, Any]:
    price = model.price
    return {
        "id": model.name,
        "object": "model",
        "owned_by": "batchchat",
        "source": model.source,
        "context_length": model.context_length,
        "price": price,
    }
