"""JSON request bodies: limited in size and time, strictly parsed and validated."""

from typing import Any, TypeVar

import pydantic_core
from anyio import fail_after
from fastapi import Request
from pydantic import BaseModel, ValidationError

from batchchat.api.http.content_encoding import decoded
from batchchat.api.http.errors import ApiError

_MAX_BODY_BYTES = 1_000_000
_READ_TIMEOUT_SECONDS = 30.0

_CODES = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
}

M = TypeVar("M", bound=BaseModel)


async def read_json(request: Request) -> Any:
    """Return the parsed JSON body; an empty body is an empty object.

    Raises:
        ApiError: the body is too large, too slow or not JSON.

    """
    data = await _read_bytes(request)
    if not data.strip():
        return {}
    try:
        return pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError as error:
        message = f"The request body is not valid JSON: {error}."
        raise ApiError(400, message, code="invalid_json") from None


def validate_body(model: type[M], value: Any) -> M:
    """Return the body as `model`. Raises `ApiError` for the first invalid field."""
    if not isinstance(value, dict):
        raise ApiError(
            400, "The request body must be a JSON object.", code="invalid_type"
        )
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _validation_error(error) from None


async def _read_bytes(request: Request) -> bytes:
    data = bytearray()
    try:
        with fail_after(_READ_TIMEOUT_SECONDS):
            stream = decoded(request, request.stream(), _MAX_BODY_BYTES)
            async for chunk in stream:
                data += chunk
                if len(data) > _MAX_BODY_BYTES:
                    message = f"The request body exceeds {_MAX_BODY_BYTES:,} bytes."
                    raise ApiError(413, message, code="body_too_large")
    except TimeoutError:
        message = f"The request body took longer than {_READ_TIMEOUT_SECONDS:g} s."
        raise ApiError(408, message, code="request_timeout") from None
    return bytes(data)


def _validation_error(error: ValidationError) -> ApiError:
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"])[:200]
    kind = first["type"]
    code = _CODES.get(kind, "invalid_type" if "type" in kind else "invalid_value")
    match kind:
        case "missing":
            message = f"Missing required parameter: '{param}'."
        case "extra_forbidden":
            message = f"Unknown parameter: '{param}'."
        case _:
            message = f"Invalid value for '{param}': {first['msg']}."
    return ApiError(400, message, param=param or None, code=code)


def request_body_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI description of a request body that is `model`."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs", {})
    required = bool(schema.get("required"))
    content = {"application/json": {"schema": _inline_refs(schema, definitions)}}
    return {"requestBody": {"required": required, "content": content}}


def _inline_refs(part: Any, definitions: dict[str, Any]) -> Any:
    """Return a schema with all references replaced by their definitions."""
    if isinstance(part, dict):
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            return _inline_refs(definitions[name], definitions)
        return {key: _inline_refs(value, definitions) for key, value in part.items()}
    if isinstance(part, list):
        return [_inline_refs(value, definitions) for value in part]
    return part
