"""The OpenAPI document."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of `app`.

    FastAPI's 422 responses are removed: invalid parameters are a 400 here. The first
    sentence of a route's docstring is its summary, the rest its description.
    """
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
    )
    for path in document["paths"].values():
        for operation in path.values():
            _describe(operation)
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    schemas = document["components"]["schemas"]
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    return document


def _describe(operation: dict[str, Any]) -> None:
    summary, _, rest = operation.pop("description").partition("\n\n")
    operation["summary"] = summary.removesuffix(".")
    if rest:
        operation["description"] = rest
