"""OpenAI's Model object with additional fields, for the API and `--json`.

https://platform.openai.com/docs/api-reference/models/object
"""

from typing import Any

from batchchat.jobs.catalog.catalog import Catalog, Model


def model_objects(catalog: Catalog) -> list[dict[str, Any]]:
    """Return the objects of all names: of each model, followed by its aliases."""
    return [
        model_object(model, name)
        for model in catalog
        for name in sorted(
            catalog.names(model.name), key=lambda n: (n != model.name, n)
        )
    ]


def model_object(model: Model, name: str) -> dict[str, Any]:
    """Return the object of a model under one of its names, as in vLLM's server.

    `root` is the name of the catalog's entry. Prices are in US dollars per million
    tokens.
    """
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "batchchat",
        "root": model.name,
        "aliases": model.aliases,
        "description": model.description,
        "source": model.source,
        "context_length": model.context_length,
        "price": model.price,
    }
