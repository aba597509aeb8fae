"""POST /v1/batches: what may be asked, and the batch that it makes."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from batchchat.api.context import AppContext
from batchchat.api.http.errors import ApiError
from batchchat.api.http.json_response import encode
from batchchat.jobs.access.idempotency import (
    KEY_SECONDS,
    RESEND_SECONDS,
    RETRY_SECONDS,
    claim,
)
from batchchat.jobs.errors import (
    ModelNotFoundError,
    NotFoundError,
    OutputError,
    UsageError,
)
from batchchat.jobs.files.files import Files
from batchchat.jobs.ledger.cost_limit import check_limit
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch, File
from batchchat.jobs.ledger.submission import Options, create_batch
from batchchat.jobs.webhooks.endpoints import Endpoints
from batchchat.jobs.webhooks.outbox import Outbox

_strict = ConfigDict(extra="forbid", strict=True)

Key = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Value = Annotated[str, StringConstraints(max_length=512)]


class ExpiresAfter(BaseModel):
    """How long the output and the error file are kept."""

    model_config = _strict

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3_600, le=2_592_000)


class CreateBatchRequest(BaseModel):
    """What is asked of a batch; from `model` on it is ours, not OpenAI's."""

    model_config = _strict

    input_file_id: str
    endpoint: Literal["/v1/chat/completions"]
    completion_window: Literal["24h", "7d"]
    metadata: Annotated[dict[Key, Value], Field(max_length=16)] | None = None
    output_expires_after: ExpiresAfter | None = None
    model: str | None = Field(None, description="For lines that name none.")
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="Of requests that bring none."
    )
    priority: Literal["low", "normal", "high"] = "normal"
    max_cost: float | None = Field(
        None,
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        description="US dollars; the batch stops before what runs would pass it.",
    )
    on_invalid: Literal["fail", "skip"] = Field(
        "fail", description="With bad lines: refuse the file, or run the others."
    )
    output_format: Literal["jsonl", "parquet", "both"] = Field(
        "jsonl",
        description="Beyond `jsonl`: a Parquet file is kept beside the output file.",
    )
    output: str | None = Field(
        None,
        description="A folder or a bucket's prefix that the results are written to as"
        " well, below one that the server's BATCHCHAT_OUTPUT_PREFIXES allows.",
    )


@dataclass(frozen=True)
class Deduplication:
    """How to recognize a repeated create request."""

    key: str | None
    """The `Idempotency-Key` header."""

    retry_count: int | None
    """The `x-stainless-retry-count` header of OpenAI's clients; 0 is a first try."""

    @property
    def window_seconds(self) -> int:
        """For how long the same request before this one is taken as this one."""
        if self.key is not None:
            return KEY_SECONDS
        if self.retry_count is None:
            return RESEND_SECONDS
        return RETRY_SECONDS if self.retry_count else 0


def create(
    context: AppContext,
    ledger: Ledger,
    body: CreateBatchRequest,
    deduplication: Deduplication,
) -> Batch:
    """Make the batch, unless this is a create that came before.

    Raises:
        ApiError: it asks for something that can't be.

    """
    _check_model(context, body)
    file = _input_file(context, ledger, body.input_file_id)
    kept = body.output_expires_after
    options = Options(
        model=body.model,
        seed=body.seed,
        on_invalid=body.on_invalid,
        completion_window=body.completion_window,
        metadata=body.metadata,
        priority=body.priority,
        output_expires_after=kept.seconds if kept else None,
        max_cost=None if body.max_cost is None else Decimal(repr(body.max_cost)),
        output_format=body.output_format,
        destination=_destination(context, ledger, body.output),
    )
    text = encode(body.model_dump(mode="json"))
    return create_once(
        ledger, lambda _: file, options, body=text, deduplication=deduplication
    )


def create_once(
    ledger: Ledger,
    input_for: Callable[[str], File],
    options: Options,
    *,
    body: bytes,
    deduplication: Deduplication,
) -> Batch:
    """Make the batch that `body` stands for, once.

    `input_for` returns the input of the batch with the id that it is given; of a
    request that is sent again it is asked only if the first one made no batch.
    """
    claimed = claim(
        ledger, body, key=deduplication.key, seconds=deduplication.window_seconds
    )
    if claimed.again:
        try:
            return ledger.batch(claimed.batch_id)
        except NotFoundError:  # the first one was cut off before it came so far
            pass
    file = input_for(claimed.batch_id)
    Files(ledger).use(file.id, claimed.batch_id)
    if Endpoints(ledger).exist():
        Outbox(ledger.storage).add(ledger.project, claimed.batch_id)
    return create_batch(
        ledger, file, options, hand_over=True, batch_id=claimed.batch_id
    )


def _check_model(context: AppContext, body: CreateBatchRequest) -> None:
    if body.model is None:
        return
    try:
        model = context.catalog.find(body.model)
        check_limit(body.max_cost, model.price, model.name)
    except ModelNotFoundError as error:
        raise ApiError(
            404, error.message, param="model", code="model_not_found"
        ) from None
    except UsageError as error:
        raise ApiError(
            400, error.message, param="max_cost", code="model_without_price"
        ) from None


def _destination(context: AppContext, ledger: Ledger, output: str | None) -> str | None:
    """Return where the results are to go, as a URL."""
    if output is None:
        return None
    try:
        return context.destinations.checked(output, ledger.project).url
    except OutputError as error:
        why = f"{error.message}: {error.hint}" if error.hint else error.message
        message = f"Invalid value for 'output': {why}."
        raise ApiError(
            400, message, param="output", code="output_not_allowed"
        ) from None


def _input_file(context: AppContext, ledger: Ledger, file_id: str) -> File:
    param = "input_file_id"
    try:
        file = Files(ledger).get(file_id)
    except NotFoundError as error:
        raise ApiError(404, error.message, param=param, code=error.code) from None
    if file.purpose != "batch":
        message = f"Invalid file purpose: `{file_id}` was uploaded as"
        message += f" '{file.purpose}', and a batch reads files of purpose 'batch'."
        raise ApiError(400, message, param=param, code="invalid_file_purpose")
    most = context.settings.max_batch_requests
    if file.lines is not None and file.lines > most:
        message = f"The file has {file.lines:,} lines, and a batch up to {most:,}."
        raise ApiError(400, message, param=param, code="too_many_requests")
    return file
