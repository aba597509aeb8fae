"""/v1/batches."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Annotated, Any

import msgspec
from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from starlette.background import BackgroundTask
from starlette.responses import Response

from batchchat.api.batch_view import BatchView
from batchchat.api.context import AppContext
from batchchat.api.http.auth import Context, ProjectLedger
from batchchat.api.http.batch_filter import METADATA_PARAMETER, RequestedFilter
from batchchat.api.http.errors import ApiError
from batchchat.api.http.json_response import JsonResponse
from batchchat.api.http.paging import AfterId, PageSize, list_object
from batchchat.api.http.request_body import (
    read_json,
    request_body_schema,
    validate_body,
)
from batchchat.api.http.schemas import BatchList, BatchObject, DeletedBatch, errors
from batchchat.api.routes.create_batch import (
    CreateBatchRequest,
    Deduplication,
    create,
    create_once,
)
from batchchat.api.routes.deleted_files import require_file, require_result_files
from batchchat.api.routes.project_limits import check_stored_bytes
from batchchat.jobs.deletion.deletion import Deleter
from batchchat.jobs.errors import NewerFormatError, NotFoundError
from batchchat.jobs.ids import checked_id, retry_file_id
from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.batch_filter import BatchFilter
from batchchat.jobs.ledger.cost_limit import check_cost_limit
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import File
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import cancel_batch
from batchchat.jobs.results.retry import retry_input, retry_options
from batchchat.workers.cluster_status import ClusterStatus

router = APIRouter(prefix="/v1/batches", tags=["batches"])

_READ_CONCURRENCY = 16

_MAX_COUNT_DIGITS = 4

_BATCH_RESPONSE: dict[int | str, dict[str, Any]] = {200: {"model": BatchObject}}

MaxCost = Annotated[
    float | None,
    Query(
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        description="Cost limit of the new batch in US dollars. The limit of the"
        " original batch is not copied.",
    ),
]
KeepInput = Annotated[bool, Query(description="Whether to keep the input file.")]
DryRun = Annotated[
    bool, Query(description="Only return what would be deleted, or why it cannot be.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="idempotency-key",
        max_length=255,
        description="Requests with the same key within 24 hours return the same batch.",
    ),
]


@router.post(
    "",
    openapi_extra=request_body_schema(CreateBatchRequest),
    responses=_BATCH_RESPONSE | errors(404, 408, 413, 415, 422),
)
async def create_batch(
    request: Request,
    ledger: ProjectLedger,
    context: Context,
    key: IdempotencyKey = None,
) -> Response:
    """Create a batch from an uploaded file."""
    body = validate_body(CreateBatchRequest, await read_json(request))
    deduplication = _deduplication(request, key)
    batch = await to_thread.run_sync(create, context, ledger, body, deduplication)
    return await to_thread.run_sync(_changed, request, ledger, batch.id)


@router.get(
    "",
    responses={200: {"model": BatchList}, **errors(404)},
    openapi_extra={"parameters": [METADATA_PARAMETER]},
)
def list_batches(
    request: Request,
    ledger: ProjectLedger,
    wanted: RequestedFilter,
    after: AfterId = None,
    limit: PageSize = 20,
) -> Response:
    """List batches, newest first."""
    if after is not None:
        checked_id("batch", after)
    render = partial(_render_if_wanted, request.app.state.batch_view, ledger, wanted)
    with ThreadPoolExecutor(_READ_CONCURRENCY) as pool:
        ids = ledger.batch_ids(after)
        rendered = (
            pair
            for chunk in iter(lambda: list(islice(ids, _READ_CONCURRENCY)), [])
            for pair in pool.map(render, chunk)
            if pair is not None
        )
        found = list(islice(rendered, limit + 1))
    page = found[:limit]
    data = [msgspec.Raw(text) for _, text in page]
    return list_object(data, [one for one, _ in page], has_more=len(found) > limit)


@router.get("/{batch_id}", responses=_BATCH_RESPONSE | errors(404))
async def retrieve_batch(
    batch_id: str, request: Request, ledger: ProjectLedger
) -> Response:
    """Retrieve a batch."""
    batch_view: BatchView = request.app.state.batch_view
    known = batch_view.cached(ledger.project, batch_id)  # needs no thread
    return JsonResponse(
        known or await to_thread.run_sync(batch_view.render, ledger, batch_id)
    )


@router.post(
    "/{batch_id}/cancel",
    name="cancel_batch",
    responses=_BATCH_RESPONSE | errors(404, 409),
)
def cancel(batch_id: str, request: Request, ledger: ProjectLedger) -> Response:
    """Cancel a batch.

    Finished results are kept; the other requests go to the error file.
    """
    cancel_batch(ledger, batch_id)
    ActiveIndex(ledger.storage).touch(ledger.project, batch_id)
    return _changed(request, ledger, batch_id)


@router.delete(
    "/{batch_id}",
    name="delete_batch",
    responses={200: {"model": DeletedBatch}, **errors(404, 409)},
)
def delete(
    batch_id: str,
    request: Request,
    ledger: ProjectLedger,
    *,
    keep_input: KeepInput = False,
    dry_run: DryRun = False,
) -> Response:
    """Delete an ended batch with its results.

    The input file is deleted, too, unless another batch reads it. A batch that has not
    ended, or whose results are being delivered or are needed by another batch, is not
    deleted (409).
    """
    deleter = Deleter(ledger)
    if dry_run:
        removal = deleter.preview(batch_id, keep_input=keep_input)
    else:
        removal = deleter.delete(batch_id, keep_input=keep_input)
        request.app.state.batch_view.forget(ledger.project, batch_id)
    return JsonResponse(
        {
            "id": batch_id,
            "object": "batch",
            "deleted": not dry_run,
            "objects": removal.objects,
            "bytes": removal.bytes,
            "input_kept": removal.keeps_input,
        }
    )


@router.post(
    "/{batch_id}/retry",
    name="retry_batch",
    responses=_BATCH_RESPONSE | errors(404, 409, 422),
)
def retry(
    batch_id: str,
    request: Request,
    ledger: ProjectLedger,
    context: Context,
    *,
    key: IdempotencyKey = None,
    max_cost: MaxCost = None,
) -> Response:
    """Create a new batch from the requests that failed or never ran.

    The options are copied from the original batch, except for `max_cost` if given.
    """
    state = ledger.state(batch_id)
    limit = None if max_cost is None else Decimal(repr(max_cost))
    options = retry_options(state.batch, limit)
    planned = state.plan.model if state.plan else state.batch.resolved_model
    model = context.catalog.find(planned.name) if planned else None
    if model is not None:
        check_cost_limit(options.max_cost, model.price, model.name)
    body = encode(["retry", batch_id, max_cost])
    deduplication = _deduplication(request, key)
    batch = create_once(
        context,
        ledger,
        partial(_store_retry_input, context, ledger, state),
        options,
        model,
        body=body,
        deduplication=deduplication,
    )
    return _changed(request, ledger, batch.id)


def _store_retry_input(
    context: AppContext, ledger: Ledger, state: State, new_batch_id: str
) -> File:
    """Store the failed and unprocessed requests of a batch as a new input file."""
    check_stored_bytes(context, ledger)
    require_file(ledger, state.batch.input_file_id, "input")
    require_result_files(ledger, state)
    name = f"{state.batch.id}_retry.jsonl"
    file_id = retry_file_id(new_batch_id)
    return store_file(ledger, retry_input(ledger, state), name, file_id=file_id)


def _changed(request: Request, ledger: Ledger, batch_id: str) -> JsonResponse:
    """Return a batch; after the response, have controllers look at it."""
    batch_view: BatchView = request.app.state.batch_view
    cluster: ClusterStatus | None = request.app.state.cluster
    response = JsonResponse(batch_view.render(ledger, batch_id))
    if cluster is not None:
        response.background = BackgroundTask(cluster.announce)
    return response


class _Status(msgspec.Struct):
    status: str


def _render_if_wanted(
    batch_view: BatchView, ledger: Ledger, wanted: BatchFilter, batch_id: str
) -> tuple[str, bytes] | None:
    """Return a batch, None if it is not selected, not created yet or not readable."""
    try:
        if not wanted.allows_metadata(ledger.batch(batch_id).metadata):
            return None
        text = batch_view.render(ledger, batch_id, is_listed=True)
    except (NotFoundError, NewerFormatError):
        return None
    status = msgspec.json.decode(text, type=_Status).status
    return (batch_id, text) if wanted.allows_status(status) else None


def _deduplication(request: Request, key: str | None) -> Deduplication:
    retries = request.headers.get("x-stainless-retry-count", "")
    if key is not None and not key.strip():
        message = "Invalid value for 'idempotency-key': it must not be empty."
        raise ApiError(400, message, param="idempotency-key", code="invalid_value")
    return Deduplication(
        key=key, retry_count=int(retries) if _is_count(retries) else None
    )


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_COUNT_DIGITS
