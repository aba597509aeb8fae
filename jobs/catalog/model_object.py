"""OpenAI's Model object with additional fields, for the API and `--json`.

https://platform.openai.com/docs/api-reference/models/object
"""

from typing import Any

from batchchat.jobs.catalog.catalog import Model


def model_object(model: Model) -> dict[str, Any]:
    """Return the object of a model; prices are in US dollars per million tokens."""
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "batchchat",
        "aliases": model.aliases,
        "description": model.description,
        "source": model.source,
        "context_length": model.context_length,
        "price": model.price,
    }
