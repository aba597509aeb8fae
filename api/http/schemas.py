"""The objects of the API, for its document; OpenAI's fields first, then ours."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class ErrorDetail(BaseModel):
    """What is wrong with a request."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


class FileObject(BaseModel):
    """A file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"]
    status_details: str | None


class FileList(BaseModel):
    """Some files."""

    object: Literal["list"]
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(BaseModel):
    """A file that is gone."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


class BatchError(BaseModel):
    """Something that is wrong with an input file; lines count from 1."""

    code: str | None
    line: int | None
    message: str
    param: str | None


class BatchErrors(BaseModel):
    """The first of all that is wrong with an input file."""

    object: Literal["list"]
    data: list[BatchError]


class RequestCounts(BaseModel):
    """Requests that are done; those that never ran are in neither of the last two."""

    total: int
    completed: int
    failed: int


class Shards(BaseModel):
    """The parts that a batch is run in, and how many of them are final."""

    total: int
    committed: int


class Delivery(BaseModel):
    """How the results come to where they are wanted; it begins when the batch ends."""

    status: Literal["pending", "completed", "failed"]
    ended_at: int | None
    files: list[str] = Field(description="Their URLs.")
    error: str | None = Field(
        description="Why it failed, or while it is pending the last try, if one has."
    )


class BatchObject(BaseModel):
    """A batch; times are Unix seconds, null for what has not happened."""

    id: str
    object: Literal["batch"]
    endpoint: str
    model: str | None
    errors: BatchErrors | None
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
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    expires_at: int
    request_counts: RequestCounts
    usage: dict[str, Any]
    metadata: dict[str, str] | None
    output: str | None = Field(description="Where the results are written to as well.")
    output_format: Literal["jsonl", "parquet", "both"]
    output_parquet_file_id: str | None = Field(
        description="The results as Parquet, if `output_format` asked for them."
    )
    delivery: Delivery | None = Field(
        description="Of the results to `output`; the status does not wait for it."
    )
    estimated_cost: float = Field(description="US dollars, by the catalog's prices.")
    engine_seconds: float
    engine_cost: float | None
    max_cost: float | None = Field(description="US dollars that it may cost.")
    cancel_reason: Literal["max_cost_reached", "input_file_missing"] | None = Field(
        description="Why it was cancelled, where it was not by a request."
    )
    priority: Literal["low", "normal", "high"]
    seed: int
    retry_of: str | None
    invalid_lines: int = Field(description="Bad lines, which `errors` says more of.")
    streamed_requests: int = Field(
        description="Requests with `stream`, which a batch answers whole."
    )
    shards: Shards | None = Field(description="Null before and after it runs.")
    engines: dict[str, Any]


class BatchList(BaseModel):
    """Some batches, newest first."""

    object: Literal["list"]
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ModelObject(BaseModel):
    """A model of the catalog."""

    id: str
    object: Literal["model"]
    created: int = Field(description="Not known, so 0.")
    owned_by: str
    aliases: list[str]
    description: str
    source: str
    context_length: int | None
    price: dict[str, Any] | None


class ModelList(BaseModel):
    """The catalog."""

    object: Literal["list"]
    data: list[ModelObject]


class WebhookEndpoint(BaseModel):
    """An endpoint that hears of events."""

    id: str
    object: Literal["webhook_endpoint"]
    name: str
    url: str
    event_types: list[str]
    created_at: int
    updated_at: int
    signing_secret_hint: str


class WebhookEndpointWithSecret(WebhookEndpoint):
    """The same when its secret is new."""

    signing_secret: str


class WebhookEndpointList(BaseModel):
    """Some endpoints, newest first."""

    object: Literal["list"]
    data: list[WebhookEndpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedWebhookEndpoint(BaseModel):
    """An endpoint that is gone."""

    id: str
    object: Literal["webhook_endpoint.deleted"]
    deleted: Literal[True]


class WebhookTest(BaseModel):
    """What an endpoint answered to a sample."""

    object: Literal["webhook_endpoint.test"]
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True]


class EventTypes(BaseModel):
    """The events that there are."""

    object: Literal["list"]
    data: list[str]


_ERRORS = {
    400: "What was asked for can't be done as it was asked.",
    401: "The key is missing or wrong.",
    403: "Without keys only this machine's users are answered.",
    404: "There is no such object in this project.",
    405: "The method does not exist here.",
    408: "The request came too slowly.",
    409: "The state of the object forbids it.",
    413: "The request is too large.",
    416: "The file has no such range.",
    415: "The content type is not one that is understood here.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many requests.",
    500: "Something went wrong here.",
    503: "The storage can't be reached.",
}

_COMMON_STATUSES = (400, 401, 403, 429, 500, 503)


def errors(*more: int) -> dict[int | str, dict[str, Any]]:
    """Return the errors of a route for the document: `more`, and those of all."""
    return {
        status: {"model": ErrorResponse, "description": _ERRORS[status]}
        for status in sorted({*_COMMON_STATUSES, *more})
    }
