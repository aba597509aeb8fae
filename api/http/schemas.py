"""The API's objects for its OpenAPI document: OpenAI's fields, then extensions."""

from decimal import Decimal
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from pydantic import BaseModel, Field, create_model

from batchchat.jobs.ledger import batch_object


class ErrorDetail(BaseModel):
    """Details of an error."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None = Field(description="The invalid parameter.")
    code: str | None = Field(description="The kind of error, for programs.")


class ErrorResponse(BaseModel):
    """The body of all error responses."""

    error: ErrorDetail


class Page(BaseModel):
    """A page of a list."""

    object: Literal["list"]
    first_id: str | None
    last_id: str | None
    has_more: bool = Field(description="Whether more objects follow `last_id`.")


class FileObject(BaseModel):
    """An uploaded file or a result file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int = Field(description="Unix seconds.")
    expires_at: int | None = Field(
        description="Unix seconds; null if the file is kept until it is deleted."
    )
    filename: str
    purpose: str
    status: Literal["processed"]
    status_details: str | None


class FileList(Page):
    """A page of files."""

    data: list[FileObject]


class DeletedFile(BaseModel):
    """Confirmation that a file was deleted."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


class DeletedBatch(BaseModel):
    """What was deleted with a batch, or would be."""

    id: str
    object: Literal["batch"]
    deleted: bool = Field(description="False with `dry_run`.")
    objects: int = Field(description="Number of stored objects.")
    bytes: int = Field(description="Their size.")
    input_kept: bool = Field(
        description="Whether the input file is kept: on request, or because another"
        " batch reads it."
    )


def _model_of(struct: type[msgspec.Struct]) -> Any:
    """Return a pydantic model with the fields and descriptions of a struct."""
    hints = get_type_hints(struct, include_extras=True)
    fields: dict[str, Any] = {}
    for name in struct.__struct_fields__:
        kind, *notes = [hints[name]]
        if get_origin(kind) is Annotated:
            kind, *notes = get_args(kind)
        meta = notes[0] if notes else msgspec.Meta()
        info = Field(
            description=meta.description, json_schema_extra=meta.extra_json_schema
        )
        fields[name] = (_pydantic_type(kind), info)
    return create_model(struct.__name__, __doc__=struct.__doc__, **fields)


def _pydantic_type(kind: Any) -> Any:
    if get_origin(kind) in {list, Union, UnionType}:
        parts = [_pydantic_type(part) for part in get_args(kind)]
        return list[parts[0]] if get_origin(kind) is list else Union[*parts]  # type: ignore[valid-type]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _model_of(kind)
    return float if kind is Decimal else kind


BatchObject = _model_of(batch_object.BatchObject)
BatchList = create_model(
    "BatchList",
    __base__=Page,
    __doc__="A page of batches, newest first.",
    data=(list[BatchObject], ...),  # type: ignore[valid-type]
)


class ModelObject(BaseModel):
    """A model in the server's catalog."""

    id: str
    object: Literal["model"]
    created: int = Field(description="Always 0: the creation time is unknown.")
    owned_by: str
    root: str = Field(description="The name of the model that an alias refers to.")
    aliases: list[str] = Field(description="Other names of the model.")
    description: str
    source: str = Field(description="Hugging Face model id or local path.")
    context_length: int | None = Field(description="Tokens.")
    price: dict[str, Any] | None = Field(
        description="US dollars per million input and output tokens."
    )


class ModelList(BaseModel):
    """The models in the server's catalog."""

    object: Literal["list"]
    data: list[ModelObject]


class WebhookEndpoint(BaseModel):
    """A URL that receives events."""

    id: str
    object: Literal["webhook_endpoint"]
    name: str
    url: str
    event_types: list[str]
    created_at: int
    updated_at: int
    signing_secret_hint: str = Field(description="The last characters of the secret.")


class WebhookEndpointWithSecret(WebhookEndpoint):
    """A webhook endpoint with its new signing secret, which is shown only once."""

    signing_secret: str


class WebhookEndpointList(Page):
    """A page of webhook endpoints, newest first."""

    data: list[WebhookEndpoint]


class DeletedWebhookEndpoint(BaseModel):
    """Confirmation that a webhook endpoint was deleted."""

    id: str
    object: Literal["webhook_endpoint.deleted"]
    deleted: Literal[True]


class WebhookTest(BaseModel):
    """The response of a webhook endpoint to a test event."""

    object: Literal["webhook_endpoint.test"]
    webhook_endpoint_id: str
    event_type: str
    status_code: int = Field(description="Status code that the endpoint returned.")
    success: Literal[True] = Field(description="Whether the event was sent.")


class EventTypes(BaseModel):
    """The supported event types."""

    object: Literal["list"]
    data: list[str]


_ERRORS = {
    400: "The request is invalid; `param` names the field.",
    401: "The API key is missing or invalid.",
    403: "The server has no API keys and accepts requests from its own machine only.",
    404: "The object does not exist in this project.",
    408: "The request body took too long to arrive.",
    409: "The operation conflicts with the state of the object.",
    413: "The request body is too large.",
    416: "The requested range is outside the file.",
    415: "The content type is not supported.",
    422: "The `Idempotency-Key` was already used for a different request.",
    429: "The project exceeded its rate limit; `retry-after` says when to retry.",
    500: "Internal server error.",
    503: "The server cannot reach its storage; retry later.",
}

_COMMON_STATUSES = (400, 401, 403, 429, 500, 503)


def errors(*more: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI error responses of a route: `more`, and the common ones."""
    return {
        status: {"model": ErrorResponse, "description": _ERRORS[status]}
        for status in sorted({*_COMMON_STATUSES, *more})
    }
