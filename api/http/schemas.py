"""The API's objects for its OpenAPI document: OpenAI's fields, then extensions."""

from typing import Any, Literal

from pydantic import BaseModel, Field


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


class BatchError(BaseModel):
    """A problem in an input file."""

    code: str | None
    line: int | None = Field(description="Line number, starting at 1.")
    message: str
    param: str | None = Field(description="The invalid field of the request.")


class BatchErrors(BaseModel):
    """The first problems in an input file."""

    object: Literal["list"]
    data: list[BatchError]


class RequestCounts(BaseModel):
    """The number of requests; those that never ran count in `total` only."""

    total: int
    completed: int
    failed: int


class Shards(BaseModel):
    """The parts into which a running batch is divided."""

    total: int
    committed: int = Field(description="Number of parts that are finished.")


class Delivery(BaseModel):
    """The delivery of the results to `output`, which begins when the batch ends."""

    status: Literal["pending", "completed", "failed"]
    ended_at: int | None
    files: list[str] = Field(description="URLs of the delivered files.")
    error: str | None = Field(
        description="Why the delivery failed, or, while it is pending, why the last"
        " attempt failed."
    )


class BatchObject(BaseModel):
    """A batch; times are Unix seconds, or null for what has not happened."""

    id: str
    object: Literal["batch"]
    endpoint: str
    model: str | None
    errors: BatchErrors | None = Field(
        description="Problems in the input file, if there are any."
    )
    input_file_id: str
    completion_window: str
    status: Literal[
        "validating",
        "failed",
        "in_progress",
        "finalizing",
        "completed",
        "expired",
        "cancelling",
        "cancelled",
    ]
    output_file_id: str | None = Field(
        description="File with the results of the completed requests."
    )
    error_file_id: str | None = Field(
        description="File with the errors of the requests that failed or never ran."
    )
    created_at: int
    in_progress_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    expires_at: int = Field(description="When the completion window ends.")
    request_counts: RequestCounts
    usage: dict[str, Any] = Field(description="Number of input and output tokens.")
    metadata: dict[str, str] | None
    output: str | None = Field(
        description="URL of the prefix or folder that the results are delivered to."
    )
    output_format: Literal["jsonl", "parquet", "both"]
    output_parquet_file_id: str | None = Field(
        description="Parquet file with all results, if `output_format` requests it."
    )
    delivery: Delivery | None = Field(
        description="State of the delivery to `output`. The status of the batch does"
        " not wait for it."
    )
    estimated_cost: float = Field(description="US dollars, at catalog prices.")
    engine_seconds: float = Field(description="Engine time used, in seconds.")
    engine_cost: float | None = Field(
        description="US dollars; null if the catalog has no price per GPU hour."
    )
    max_cost: float | None = Field(description="Cost limit in US dollars.")
    cancel_reason: Literal["max_cost_reached", "input_file_missing"] | None = Field(
        description="Why the server cancelled the batch; null if a client did."
    )
    priority: Literal["low", "normal", "high"]
    seed: int = Field(
        description="Seed of the batch; requests without one derive theirs from it."
    )
    retry_of: str | None = Field(description="The batch that this one is a retry of.")
    invalid_lines: int = Field(
        description="Number of invalid input lines; `errors` describes the first ones."
    )
    streamed_requests: int = Field(
        description="Number of requests that set `stream`, which batches ignore."
    )
    shards: Shards | None = Field(description="Null unless the batch is running.")
    engines: dict[str, Any] = Field(
        description="The engines that produced the results, by `system_fingerprint`."
    )


class BatchList(Page):
    """A page of batches, newest first."""

    data: list[BatchObject]


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
