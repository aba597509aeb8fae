"""GET /v1/batches/{id}/results: what is finished, while it runs and after."""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Annotated, Any, Literal

from anyio import sleep, to_thread
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from batchchat.api.http.auth import Authenticator, ProjectLedger
from batchchat.api.http.errors import ApiError
from batchchat.api.http.json_response import encode
from batchchat.api.http.schemas import errors
from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.ledger.ledger import Ledger, State
from batchchat.jobs.results.parquet import write_parquet
from batchchat.jobs.results.parquet_file import table_of
from batchchat.jobs.results.stream import finished_results
from batchchat.jobs.storage.protocol import CHUNK

router = APIRouter(prefix="/v1/batches", tags=["batches"])

_POLL_SECONDS = 1.0
_POLLS_PER_KEEPALIVE = 15
"""Looks after which somebody who follows hears that there is nothing new."""

_SEND_BYTES = 256 * 1024
"""Bytes of lines that are sent at once."""

_LINES_PER_READ = 200
_TEXT_SCHEMA: dict[str, Any] = {"schema": {"type": "string"}}
_EVENT_STREAM = "text/event-stream"
_PARQUET = "application/vnd.apache.parquet"

After = Annotated[
    int, Query(ge=0, le=2**53, description="How many results you have already.")
]


@router.get(
    "/{batch_id}/results",
    response_class=Response,
    responses={
        200: {
            "content": {
                "application/jsonl": _TEXT_SCHEMA,
                _EVENT_STREAM: _TEXT_SCHEMA,
                _PARQUET: {"schema": {"type": "string", "format": "binary"}},
            },
            "description": "Lines of the output and the error file, in the order of the"
            " input, as far as they are finished.",
        },
        **errors(404, 409),
    },
)
def results(
    batch_id: str,
    request: Request,
    ledger: ProjectLedger,
    *,
    after: After = 0,
    format_: Annotated[Literal["jsonl", "parquet"], Query(alias="format")] = "jsonl",
    last_event_id: Annotated[str | None, Header(alias="last-event-id")] = None,
) -> Response:
    """Read what is finished; with `Accept: text/event-stream` follow the batch."""
    state = ledger.state(batch_id)
    require_result_files(ledger, state)
    if format_ == "parquet":
        return _parquet(ledger, state, after)
    if _EVENT_STREAM in request.headers.get("accept", ""):
        if last_event_id is not None:
            after = _parse_event_id(last_event_id)
        events = _EventStream(request, ledger, batch_id, after)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(
            events.follow(), 200, headers, media_type=_EVENT_STREAM
        )
    lines = finished_results(ledger, state, after)
    complete = "true" if state.is_terminal else "false"
    return StreamingResponse(
        _coalesced(lines),
        200,
        {"x-batchchat-complete": complete, "cache-control": "no-store"},
        media_type="application/jsonl",
    )


def require_result_files(ledger: Ledger, state: State) -> None:
    """See that the files of an ended batch are still there. Raises `ApiError`."""
    if state.final is not None:
        require_file(ledger, state.final.output_file_id, "output")
        require_file(ledger, state.final.error_file_id, "error")


def require_file(ledger: Ledger, file_id: str | None, kind: str) -> None:
    """See that a file of a batch is still there. Raises `ApiError`."""
    try:
        if file_id is not None:
            ledger.storage.size(ledger.keys.content(file_id))
    except ObjectMissingError:
        message = f"The {kind} file of this batch, `{file_id}`, was deleted."
        raise ApiError(404, message, code="file_deleted") from None


class _EventStream:
    """A batch as server-sent events: its results, its object, and its end.

    The id of an event is the number of results so far, so a client that comes back
    says by `Last-Event-ID` where to go on.
    """

    def __init__(
        self, request: Request, ledger: Ledger, batch_id: str, after: int
    ) -> None:
        state = request.app.state
        self._is_shutting_down: Callable[[], bool] = state.is_shutting_down
        self._show: Callable[[State], bytes] = partial(
            state.batch_view.render_state, ledger
        )
        self._state: Callable[[], State] = partial(ledger.state, batch_id)
        self._authenticator: Authenticator = state.authenticator
        self._request = request
        self._ledger = ledger
        self._count = after

    async def follow(self) -> AsyncIterator[bytes]:
        """Yield the events until the batch has ended, or the server is to stop.

        They end as well when the key that asked is no longer good.
        """
        last, quiet = b"", 0
        while not self._is_shutting_down() and await self._is_authorized():
            state = await to_thread.run_sync(self._state)
            lines = finished_results(self._ledger, state, self._count)
            while some := await to_thread.run_sync(_read_some, lines):
                for line in some:
                    self._count += 1
                    yield self._event("result", line.rstrip())
                quiet = 0
            shown = await to_thread.run_sync(self._show, state)
            if shown != last:
                yield self._event("batch", shown)
                last, quiet = shown, 0
            if state.is_terminal:
                yield self._event("done", encode({"status": state.status}))
                return
            quiet += 1
            if quiet % _POLLS_PER_KEEPALIVE == 0:
                yield b": nothing new\n\n"
            await sleep(_POLL_SECONDS)

    async def _is_authorized(self) -> bool:
        try:
            project = await self._authenticator.authenticate(self._request)
        except ApiError:
            return False
        return project == self._ledger.project

    def _event(self, name: str, data: bytes) -> bytes:
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (self._count, name.encode(), data)


def _read_some(lines: Iterator[bytes]) -> list[bytes]:
    return list(islice(lines, _LINES_PER_READ))


def _parse_event_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(2**53))):
        message = "Invalid value for 'last-event-id': it is the id of an event."
        raise ApiError(400, message, param="last-event-id", code="invalid_value")
    return int(text)


def _coalesced(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in larger pieces."""
    pieces = bytearray()
    for line in lines:
        pieces += line
        if len(pieces) >= _SEND_BYTES:
            yield bytes(pieces)
            pieces.clear()
    if pieces:
        yield bytes(pieces)


def _parquet(ledger: Ledger, state: State, after: int) -> Response:
    """Return the results of an ended batch as Parquet.

    It is the batch's own file if there is one, else made by way of a file here.
    """
    if after:
        message = "Invalid value for 'after': Parquet is sent whole."
        raise ApiError(400, message, param="after", code="invalid_value")
    name = f"{state.batch.id}.parquet"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    table = table_of(ledger, state.final) if state.final else None
    if state.final and table:
        headers["content-length"] = f"{state.final.parquet_bytes}"
        kept = ledger.storage.stream(ledger.keys.content(table))
        return StreamingResponse(kept, 200, headers, media_type=_PARQUET)
    require_file(ledger, state.batch.input_file_id, "input")
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it is sent
    try:
        write_parquet(ledger, state, file)
    except BaseException:
        file.close()
        raise
    size = file.tell()
    file.seek(0)

    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(CHUNK):
                yield chunk

    headers["content-length"] = f"{size}"
    return StreamingResponse(chunks(), 200, headers, media_type=_PARQUET)
