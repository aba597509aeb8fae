"""GET /v1/batches/{id}/results: finished results, during and after the run."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Annotated, Any, Literal

from anyio import sleep, to_thread
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from batchchat.api.http.auth import Authenticator, ProjectLedger
from batchchat.api.http.errors import ApiError
from batchchat.api.http.schemas import errors
from batchchat.api.routes import result_tables
from batchchat.api.routes.deleted_files import require_result_files
from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.checkpoint_reader import CheckpointReader
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.results.partial_results import PartialResults
from batchchat.jobs.results.result_stream import finished_results

router = APIRouter(prefix="/v1/batches", tags=["batches"])

_POLL_SECONDS = 1.0
_POLLS_PER_KEEPALIVE = 15
"""Polls without news after which an event stream gets a comment to stay open."""

_SEND_BYTES = 256 * 1024
"""Minimum size of the pieces in which lines are sent."""

_LINES_PER_READ = 200
_TEXT_SCHEMA: dict[str, Any] = {"schema": {"type": "string"}}
_BINARY_SCHEMA: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_EVENT_STREAM = "text/event-stream"
_LAST_EVENT_ID = "done"
"""The id of the event `done`: who has received it needs no other event."""

After = Annotated[
    int,
    Query(
        ge=0,
        le=2**53,
        description="Number of result lines to skip, e.g. those you already have.",
    ),
]

Format = Annotated[
    Literal["jsonl", "parquet", "table"],
    Query(
        alias="format",
        description="`jsonl`: lines of the output file and the error file. `table`:"
        " JSON lines with the columns of the Parquet file. `parquet` requires that the"
        " batch has ended.",
    ),
]
Partial = Annotated[
    bool,
    Query(
        description="Whether to include the results behind the first unfinished"
        " request of a running batch. Excludes `after` and events."
    ),
]
LastEventId = Annotated[
    str | None,
    Header(
        alias="last-event-id",
        description="Id of the last event received; replaces `after`.",
    ),
]


@router.get(
    "/{batch_id}/results",
    response_class=Response,
    responses={
        200: {
            "content": {
                "application/jsonl": _TEXT_SCHEMA,
                _EVENT_STREAM: _TEXT_SCHEMA,
                result_tables.PARQUET: {
                    "schema": {"type": "string", "format": "binary"}
                },
            },
            "description": "The finished lines of the output file and the error file,"
            " in input order.",
        },
        204: {"description": "`Last-Event-ID` is the id of the event `done`."},
        **errors(400, 404, 409),
    },
)
def read_results(
    batch_id: str,
    request: Request,
    ledger: ProjectLedger,
    *,
    after: After = 0,
    format_: Format = "jsonl",
    partial: Partial = False,
    columns: result_tables.Columns = None,
    response: result_tables.ResponseColumn = None,
    only: result_tables.Only = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Read the finished results of a batch.

    The JSON lines are append-only: they end before the first request without a result,
    and you pass `after` to continue. With `partial=true` the finished results behind
    that request are included too. The response header
    `x-batchchat-complete` is `true` once no more lines follow. With
    `Accept: text/event-stream` the response is a stream of server-sent events: `result`
    for each line, `batch` for each change of the Batch object, and `done` at the end.

    With `format=table` each line has the columns of the Parquet file, with those of the
    input's rows; `columns`, `response` and `only` choose among them.
    """
    state = ledger.state(batch_id)
    require_result_files(ledger, state)
    table = result_tables.table_options(columns, response=response, only=only)
    if format_ == "parquet":
        if after:
            message = "Invalid value for 'after': not supported with `format=parquet`."
            raise ApiError(400, message, param="after", code="invalid_value")
        return result_tables.parquet(ledger, state, table)
    if partial and after:
        message = "Invalid value for 'after': not supported with `partial=true`."
        raise ApiError(400, message, param="after", code="invalid_value")
    if format_ == "jsonl" and _EVENT_STREAM in request.headers.get("accept", ""):
        if last_event_id == _LAST_EVENT_ID:
            return Response(status_code=204)  # makes `EventSource` stop
        if last_event_id is not None:
            after = _parse_event_id(last_event_id)
        events = _EventStream(request, ledger, batch_id, after)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(
            events.follow(), 200, headers, media_type=_EVENT_STREAM
        )
    if format_ == "table":
        lines = result_tables.lines(ledger, state, table, after=after, partial=partial)
    elif partial and not state.is_terminal:
        lines = (result.text + b"\n" for result in PartialResults(ledger).new(state))
    else:
        lines = finished_results(ledger, state, after)
    complete = "true" if state.is_terminal else "false"
    return StreamingResponse(
        _coalesced(lines),
        200,
        {"x-batchchat-complete": complete, "cache-control": "no-store"},
        media_type="application/jsonl",
    )


class _EventStream:
    """A batch as server-sent events: its results, its object, and its end.

    The id of an event is the number of results sent so far, so that a client that
    reconnects with `Last-Event-ID` receives the rest. The id of the last event is
    different, so that a client that has it is not sent the end again.
    """

    def __init__(
        self, request: Request, ledger: Ledger, batch_id: str, after: int
    ) -> None:
        state = request.app.state
        self._is_shutting_down: Callable[[], bool] = state.is_shutting_down
        self._render: Callable[[State], bytes] = partial(
            state.batch_view.render_state, ledger
        )
        self._read_state: Callable[[], State] = partial(ledger.state, batch_id)
        self._authenticator: Authenticator = state.authenticator
        self._request = request
        self._ledger = ledger
        self._reader = CheckpointReader(ledger)
        self._count = after

    async def follow(self) -> AsyncIterator[bytes]:
        """Yield events until the batch has ended or the server shuts down.

        The stream also ends when the client's key is revoked.
        """
        last, idle_polls = b"", 0
        while not self._is_shutting_down() and await self._is_authorized():
            state = await to_thread.run_sync(self._read_state)
            lines = finished_results(self._ledger, state, self._count, self._reader)
            while ready := await to_thread.run_sync(_next_lines, lines):
                for line in ready:
                    self._count += 1
                    yield _event(f"{self._count}", "result", line.rstrip())
                idle_polls = 0
            batch = await to_thread.run_sync(self._render, state)
            if batch != last:
                yield _event(f"{self._count}", "batch", batch)
                last, idle_polls = batch, 0
            if state.is_terminal:
                yield _event(_LAST_EVENT_ID, "done", encode({"status": state.status}))
                return
            idle_polls += 1
            if idle_polls % _POLLS_PER_KEEPALIVE == 0:
                yield b": keep-alive\n\n"
            await sleep(_POLL_SECONDS)

    async def _is_authorized(self) -> bool:
        try:
            project = await self._authenticator.authenticate(self._request)
        except ApiError:
            return False
        return project == self._ledger.project


def _event(event_id: str, name: str, data: bytes) -> bytes:
    return f"id: {event_id}\nevent: {name}\ndata: ".encode() + data + b"\n\n"


def _next_lines(lines: Iterator[bytes]) -> list[bytes]:
    return list(islice(lines, _LINES_PER_READ))


def _parse_event_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(2**53))):
        message = "Invalid value for 'last-event-id': it must be the id of an event."
        raise ApiError(400, message, param="last-event-id", code="invalid_value")
    return int(text)


def _coalesced(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in larger pieces."""
    buffer = bytearray()
    for line in lines:
        buffer += line
        if len(buffer) >= _SEND_BYTES:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)
