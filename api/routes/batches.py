"""/v1/batches."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Annotated, Any

import msgspec
from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from batchchat.api.batch_view import Shown
from batchchat.api.http.auth import Mine, Parts
from batchchat.api.http.errors import ApiError
from batchchat.api.http.json_response import Json, encode, list_object
from batchchat.api.http.request_body import body_of, checked, read_json
from batchchat.api.http.schemas import BatchList, BatchObject, errors
from batchchat.api.routes.create_batch import CreateBatch, Sending, begin, create
from batchchat.api.routes.results import need, need_results
from batchchat.jobs.errors import NotFoundError
from batchchat.jobs.ids import checked_id, retried_file_id
from batchchat.jobs.ledger.cost_limit import check_limit
from batchchat.jobs.ledger.ledger import Ledger, State
from batchchat.jobs.ledger.records import Batch, File
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import Options, cancel_batch
from batchchat.jobs.results.retry import retry_input

router = APIRouter(prefix="/v1/batches", tags=["batches"])

_READ_AT_ONCE = 16

_COUNT_DIGITS = 4

_BATCH: dict[int | str, dict[str, Any]] = {200: {"model": BatchObject}}

MaxCost = Annotated[
    float | None,
    Query(
        gt=0, le=1e9, allow_inf_nan=False, description="US dollars that it may cost."
    ),
]
Again = Annotated[
    str | None,
    Header(
        alias="idempotency-key",
        max_length=255,
        description="The same key makes the same batch for a day.",
    ),
]


@router.post(
    "",
    openapi_extra=body_of(CreateBatch),
    responses=_BATCH | errors(404, 408, 413, 415, 422),
)
async def create_batch(
    request: Request, mine: Mine, parts: Parts, key: Again = None
) -> Response:
    """Create a batch of an uploaded file."""
    asked = checked(CreateBatch, await read_json(request))
    sending = _sending(request, key)
    batch = await to_thread.run_sync(create, parts, mine, asked, sending)
    return await to_thread.run_sync(_show, request, mine, batch)


@router.get("", responses={200: {"model": BatchList}, **errors(404)})
def list_batches(
    request: Request,
    mine: Mine,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """List batches, newest first."""
    if after is not None:
        checked_id("batch", after)
    shown = partial(_shown_if_there, request.app.state.shown, mine)
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        ids = mine.batch_ids(after)
        there = (
            pair
            for some in iter(lambda: list(islice(ids, _READ_AT_ONCE)), [])
            for pair in pool.map(shown, some)
            if pair is not None
        )
        found = list(islice(there, limit + 1))
    page = found[:limit]
    data = [msgspec.Raw(text) for _, text in page]
    return list_object(data, [one for one, _ in page], has_more=len(found) > limit)


@router.get("/{batch_id}", responses=_BATCH | errors(404))
async def retrieve(batch_id: str, request: Request, mine: Mine) -> Response:
    """Say where a batch stands; of one that ended long ago no thread is needed."""
    shown: Shown = request.app.state.shown
    known = shown.remembered(mine.project, batch_id)
    return Json(known or await to_thread.run_sync(shown.of, mine, batch_id))


@router.post("/{batch_id}/cancel", responses=_BATCH | errors(404, 409))
def cancel(batch_id: str, request: Request, mine: Mine) -> Response:
    """Stop a batch; what is finished is kept."""
    cancel_batch(mine, batch_id)
    return Json(request.app.state.shown.of(mine, batch_id))


@router.post("/{batch_id}/retry", responses=_BATCH | errors(404, 409, 422))
def retry(
    batch_id: str,
    request: Request,
    mine: Mine,
    key: Again = None,
    max_cost: MaxCost = None,
) -> Response:
    """Make a new batch of the requests that failed or never ran."""
    state = mine.state(batch_id)
    model = state.plan.model if state.plan else None
    if model is not None:
        check_limit(max_cost, model.price, model.name)
    before = state.batch
    options = Options(
        model=before.model,
        seed=before.seed,
        completion_window=before.completion_window,
        metadata=before.metadata,
        retry_of=batch_id,
        priority=before.priority,
        output_expires_after=before.output_expires_after,
        output_format=before.output_format,
        destination=before.destination,
        max_cost=None if max_cost is None else Decimal(repr(max_cost)),
    )
    asked = encode(["retry", batch_id, max_cost])
    sending = _sending(request, key)
    batch = begin(
        mine, partial(_left, mine, state), options, asked=asked, sending=sending
    )
    return _show(request, mine, batch)


def _left(ledger: Ledger, state: State, new_batch_id: str) -> File:
    """Store what is left of a batch as the input of another."""
    need(ledger, state.batch.input_file_id, "input")
    need_results(ledger, state)
    name = f"{state.batch.id}_retry.jsonl"
    file_id = retried_file_id(new_batch_id)
    return store_file(ledger, retry_input(ledger, state), name, file_id=file_id)


def _show(request: Request, ledger: Ledger, batch: Batch) -> Json:
    shown: Shown = request.app.state.shown
    return Json(shown.of(ledger, batch.id))


def _shown_if_there(
    shown: Shown, ledger: Ledger, batch_id: str
) -> tuple[str, bytes] | None:
    try:
        return batch_id, shown.of(ledger, batch_id)
    except NotFoundError:
        return None


def _sending(request: Request, key: str | None) -> Sending:
    retries = request.headers.get("x-stainless-retry-count", "")
    if key is not None and not key.strip():
        message = "Invalid value for 'idempotency-key': it is empty."
        raise ApiError(400, message, param="idempotency-key", code="invalid_value")
    return Sending(key=key, retries=int(retries) if _is_count(retries) else None)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _COUNT_DIGITS
