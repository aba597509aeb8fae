"""POST /v1/batches: the request body, its checks, and idempotent creation."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from batchchat.api.context import AppContext
from batchchat.api.http.errors import ApiError
from batchchat.api.routes.project_limits import admitted, check_price, check_priority
from batchchat.api.routes.reuse_option import ReuseFields, resolved_reuse
from batchchat.api.routes.row_batches import Rows, check_input
from batchchat.jobs.access.idempotency import (
    EXPLICIT_RETRY_SECONDS,
    IMPLICIT_DEDUP_SECONDS,
    KEY_SECONDS,
    reserve,
)
from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.durations import DURATION_PATTERN
from batchchat.jobs.errors import (
    ConfigError,
    ModelNotFoundError,
    NotFoundError,
    OutputError,
    UsageError,
)
from batchchat.jobs.files.files import Files
from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.completion_window import (
    completion_window_seconds,
)
from batchchat.jobs.ledger.deletions import read_deletion
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch, File
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.planning.model_resolution import resolve_model
from batchchat.jobs.rows.row_options import RowOptions
from batchchat.jobs.webhooks.endpoints import EndpointStore
from batchchat.jobs.webhooks.outbox import Outbox
from batchchat.workers.engine.engine_check import check_engine_arguments

_strict = ConfigDict(extra="forbid", strict=True)

Key = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Value = Annotated[str, StringConstraints(max_length=512)]


def _check_window(text: str) -> str:
    try:
        completion_window_seconds(text)
    except UsageError as error:
        values = {"message": error.message}
        raise PydanticCustomError("value_error", "{message}", values) from None
    return text


class ExpiresAfter(BaseModel):
    """When the result files expire; by default they are kept until deleted."""

    model_config = _strict

    anchor: Literal["created_at"]
    seconds: int = Field(
        ge=3_600, le=2_592_000, description="Seconds after the files' `created_at`."
    )


class CreateBatchRequest(ReuseFields):
    """The batch to create; the fields from `model` on are batchchat's extensions."""

    model_config = _strict

    input_file_id: str = Field(description="An uploaded file with the purpose `batch`.")
    endpoint: Literal["/v1/chat/completions"]
    completion_window: Annotated[str, AfterValidator(_check_window)] = Field(
        description="The batch expires after this time, from `1h` to `30d`, such as"
        " `90m`, `24h` or `1d12h`. Finished results are kept.",
        json_schema_extra={"pattern": DURATION_PATTERN},
    )
    metadata: Annotated[dict[Key, Value], Field(max_length=16)] | None = None
    output_expires_after: ExpiresAfter | None = None
    model: str | None = Field(
        None, description="Model of the requests that do not set `model` themselves."
    )
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        description="Default seed for the requests that do not set `seed`.",
    )
    priority: Literal["low", "normal", "high"] = Field(
        "normal", description="Batches of the project with a higher priority run first."
    )
    max_cost: float | None = Field(
        None,
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        description="Cost limit in US dollars. The batch is cancelled before its"
        " estimated cost exceeds the limit; finished results are kept.",
    )
    on_invalid: Literal["openai", "fail", "skip"] | None = Field(
        None,
        description="Which invalid input lines fail the batch. `openai`: those that are"
        " no request (not JSON, `custom_id` missing or repeated, wrong `method`, `url`"
        " or model); an error in a request's body becomes a line of the error file."
        " `fail`: all. `skip`: none; they all become lines of the error file. Null is"
        " the server's BATCHCHAT_ON_INVALID, `openai` unless it is set.",
    )
    output_format: Literal["jsonl", "parquet", "both"] = Field(
        "jsonl",
        description="`parquet` and `both` also store the results as a Parquet file."
        " The JSONL output and error files always exist.",
    )
    output: str | None = Field(
        None,
        description="Also deliver the results to this S3 prefix or folder. It must be"
        " below one of the server's BATCHCHAT_OUTPUT_PREFIXES.",
    )
    rows: Rows | None = Field(
        None,
        description="How the rows of the input file become requests. Without it, the"
        " file holds requests.",
    )
    output_columns: list[str] | None = Field(
        None,
        description="Columns of the input's rows in the results; null for all of them."
        " The JSONL output and error files never have them.",
    )
    output_response: bool = Field(
        True,  # noqa: FBT003 - pydantic's default
        description="Whether the Parquet file has the column `response`.",
    )
    output_only: Literal["all", "completed"] = Field(
        "all",
        description="`completed` leaves requests that failed or never ran out of the"
        " Parquet file.",
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
        """For how many seconds an identical earlier request counts as this one."""
        if self.key is not None:
            return KEY_SECONDS
        if self.retry_count is None:
            return IMPLICIT_DEDUP_SECONDS
        return EXPLICIT_RETRY_SECONDS if self.retry_count else 0


def create(
    context: AppContext,
    ledger: Ledger,
    body: CreateBatchRequest,
    deduplication: Deduplication,
) -> Batch:
    """Create the batch, or return the one that an identical request has created.

    Raises:
        ApiError: the request is invalid.

    """
    check_priority(context, ledger, body.priority)
    rows = body.rows.options() if body.rows else None
    file = _input_file(context, ledger, body.input_file_id, rows)
    model = _resolve_model(context, ledger, file, body)
    expires_after = body.output_expires_after
    options = BatchOptions(
        model=body.model,
        seed=body.seed,
        on_invalid=body.on_invalid or context.settings.on_invalid,
        completion_window=body.completion_window,
        metadata=body.metadata,
        priority=body.priority,
        output_expires_after=expires_after.seconds if expires_after else None,
        max_cost=None if body.max_cost is None else Decimal(repr(body.max_cost)),
        output_format=body.output_format,
        destination=_destination(context, ledger, body.output),
        table=_table_options(body),
        rows=rows,
        reuse=body.reuse_names(context.settings.reuse),
        reuse_across_engines=body.reuse_across_engines,
    )
    text = encode(body.model_dump(mode="json"))
    return create_once(
        context,
        ledger,
        lambda _: file,
        options,
        model,
        body=text,
        deduplication=deduplication,
    )


def _table_options(body: CreateBatchRequest) -> TableOptions:
    names = body.output_columns
    return TableOptions(
        columns=None if names is None else tuple(names),
        response=body.output_response,
        only_completed=body.output_only == "completed",
    )


def create_once(
    context: AppContext,
    ledger: Ledger,
    input_for: Callable[[str], File],
    options: BatchOptions,
    model: Model | None,
    *,
    body: bytes,
    deduplication: Deduplication,
) -> Batch:
    """Create the batch for a request unless an identical request has created it.

    `input_for` returns the input file for the batch with a given id. It is called only
    if a batch has to be created. The batch runs `model`, which is in the catalog, or
    one that the planner finds there.
    """
    reserved = partial(
        reserve,
        ledger,
        body,
        key=deduplication.key,
        seconds=deduplication.window_seconds,
    )
    reservation = reserved()
    if reservation.is_replay:
        try:
            return ledger.batch(reservation.batch_id)
        except NotFoundError:  # the first request was interrupted before it did
            if read_deletion(ledger, reservation.batch_id) is not None:
                reservation = reserved()  # the batch was deleted just now
    batch_id = reservation.batch_id
    file = input_for(batch_id)
    with admitted(
        context, ledger, batch_id, file=file, options=options, model=model
    ) as admitted_options:
        Files(ledger).use(file.id, batch_id)
        chosen = resolved_reuse(ledger, admitted_options, batch_id, model)
        if EndpointStore(ledger).exist():
            Outbox(ledger.storage).add(ledger.project, batch_id)
        return create_batch(
            ledger,
            file,
            chosen,
            enqueue=True,
            batch_id=batch_id,
            resolved_model=model,
        )


def _resolve_model(
    context: AppContext, ledger: Ledger, file: File, body: CreateBatchRequest
) -> Model | None:
    rows = body.rows.options() if body.rows else None
    try:
        model = resolve_model(ledger, file, context.catalog, body.model, rows)
    except ModelNotFoundError as error:
        raise ApiError(404, error.message, param="model", code=error.code) from None
    if model is not None:
        check_price(body.max_cost, model)
        _check_engine(context, model)
    return model


def _check_engine(context: AppContext, model: Model) -> None:
    """Refuse a model whose engine cannot start, if this server runs the batches."""
    settings = context.settings
    if settings.broker is not None:
        return
    try:
        check_engine_arguments(model, Path(settings.model_cache).expanduser(), settings)
    except ConfigError as error:
        raise ApiError(400, error.message, param="model", code=error.code) from None


def _destination(context: AppContext, ledger: Ledger, output: str | None) -> str | None:
    """Return the URL that the results are to be delivered to."""
    if output is None:
        return None
    try:
        return context.destinations.check(output, ledger.project).url
    except OutputError as error:
        why = f"{error.message}: {error.hint}" if error.hint else error.message
        message = f"Invalid value for 'output': {why}."
        raise ApiError(
            400, message, param="output", code="output_not_allowed"
        ) from None


def _input_file(
    context: AppContext, ledger: Ledger, file_id: str, rows: RowOptions | None
) -> File:
    param = "input_file_id"
    try:
        file = Files(ledger).get(file_id)
    except NotFoundError as error:
        raise ApiError(404, error.message, param=param, code=error.code) from None
    if file.purpose != "batch":
        message = f"Invalid file purpose: `{file_id}` has the purpose"
        message += f" '{file.purpose}', but batches require 'batch'."
        raise ApiError(400, message, param=param, code="invalid_file_purpose")
    file = check_input(ledger, file, rows)
    limit = context.settings.max_batch_requests
    if file.lines is not None and file.lines > limit:
        unit = "lines" if rows is None else "requests"
        message = f"The file has {file.lines:,} {unit}, but a batch may have at most"
        message += f" {limit:,}."
        raise ApiError(400, message, param=param, code="too_many_requests")
    return file
