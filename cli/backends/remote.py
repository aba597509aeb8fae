"""The backend for batches of the server at BATCHCHAT_URL."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import msgspec
from typing_extensions import override

from batchchat.cli.backends.batch_view import (
    LocalOutput,
    Page,
    View,
    read_batch,
    read_models,
)
from batchchat.cli.backends.create_body import create_body
from batchchat.cli.backends.follow import follow
from batchchat.cli.backends.pending_outputs import PendingOutputs
from batchchat.cli.backends.protocol import Backend, ResultSource, RetryOptions
from batchchat.cli.backends.remote_deletion import (
    prune_batches,
    read_removal,
    request_deletion,
)
from batchchat.cli.backends.remote_export import Download
from batchchat.cli.backends.remote_list import BatchList, newest_first, read_list
from batchchat.cli.backends.remote_results import RemoteResults
from batchchat.cli.backends.speed import average_speed
from batchchat.cli.client.download import file_chunks, file_path
from batchchat.cli.client.http_client import ServerClient
from batchchat.cli.client.transfer_progress import Transfer
from batchchat.cli.client.upload import upload
from batchchat.cli.terminal import streams
from batchchat.cli.terminal.input_file import InputFile
from batchchat.jobs.deletion.deletion import Removal
from batchchat.jobs.deletion.pruning import Kept
from batchchat.jobs.errors import (
    BatchchatError,
    ConfigError,
    ConflictError,
    NotFoundError,
    ServerError,
    UsageError,
)
from batchchat.jobs.ids import checked_id, last_id_with
from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.batch_filter import EVERY_BATCH, BatchFilter
from batchchat.jobs.ledger.batch_object import BatchObject
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.results.export import output_paths, write_atomically
from batchchat.jobs.storage.destination import Destination
from batchchat.workers.local.live_speed import Speed

T = TypeVar("T")


class RemoteBackend(Backend):
    """Uses the server at BATCHCHAT_URL; see `Backend`."""

    accepts_any_model = False
    default_completion_window = "24h"

    default_on_invalid = None
    default_reuse = ()

    def __init__(self, server: ServerClient) -> None:
        """Use the batches that the API key of `server` gives access to."""
        self._server = server
        self._pending_outputs = PendingOutputs()

    @override
    def check_model(self, name: str, max_cost: Decimal | None = None) -> None:
        self._server.get(f"models/{quote(name, safe='')}")  # `submit` checks the cost

    @override
    def check_engine(self, model: str | None) -> None:
        """Do nothing: the server checks it."""

    @override
    def models(self) -> bytes:
        text = self._server.get("models")
        self._decode(read_models, text)
        return text

    @override
    def destination(self, output: str) -> str:
        return Destination.parse(output).url  # the server checks that it is allowed

    @override
    def submit(
        self, file: InputFile, options: BatchOptions, *, show_progress: bool
    ) -> str:
        if options.model is None:  # otherwise `check_model` has tried the server
            self._server.get("models")
        if options.rows is None:
            if options.model is None:
                file.require_model()
            file.check_format()
        file_id = self._upload(file, show_progress=show_progress)
        try:
            batch_id = self._create("batches", encode(create_body(file_id, options)))
        except UsageError:
            with suppress(BatchchatError):  # an unused file is harmless
                self._server.delete(file_path(file_id))
            raise
        if options.output is not None:
            output = LocalOutput(Path(options.output), options.output_format)
            self._pending_outputs.save(batch_id, output)
        return batch_id

    @override
    def retry(
        self, batch_id: str, output: LocalOutput | None, options: RetryOptions
    ) -> str:
        if options.merge:
            raise UsageError(
                "`--merge` is not supported with a server",
                hint="merge the two files by their custom_ids",
            )
        max_cost = options.max_cost
        limit = "" if max_cost is None else f"?max_cost={max_cost:f}"
        try:
            new_id = self._create(f"{_path(batch_id)}/retry{limit}")
        except UsageError as error:
            error.hint = error.hint or _hint_if_not_retryable(self.get(batch_id).batch)
            raise
        if output is not None:
            self._pending_outputs.save(new_id, output)
        return new_id

    @override
    def check_batch(self, batch_id: str) -> None:
        self.get(batch_id)

    @override
    def batch_ids(self, prefix: str = "") -> Iterator[str]:
        after = last_id_with(prefix) if prefix else None
        ids = (view.batch.id for view in self._newest_first(after))
        return takewhile(lambda batch_id: batch_id.startswith(prefix), ids)

    @override
    def get(self, batch_id: str) -> View:
        return self._view(self._server.get(_path(batch_id)))

    @override
    def newest(self, limit: int, wanted: BatchFilter = EVERY_BATCH) -> Page:
        views = self._newest_first(wanted=wanted)
        found = list(islice(views, limit + 1))
        return Page(found[:limit], has_more=len(found) > limit)

    @override
    def runners(self, views: Sequence[View]) -> list[str]:
        return ["" if view.batch.is_terminal else "server" for view in views]

    def _newest_first(
        self, after: str | None = None, wanted: BatchFilter = EVERY_BATCH
    ) -> Iterator[View]:
        return newest_first(self._read_page, self._view, wanted, after)

    def _read_page(self, **params: Any) -> BatchList:
        text = self._server.get("batches", **params)
        return self._decode(read_list, text)

    @override
    def cancel(self, batch_id: str) -> View:
        try:
            return self._view(self._server.post(f"{_path(batch_id)}/cancel"))
        except ConflictError as error:
            error.hint = f"see how it ended with `batchchat status {batch_id}`"
            raise

    @override
    def delete(self, batch_id: str, *, keep_input: bool, dry_run: bool) -> Removal:
        text = request_deletion(
            self._server, batch_id, keep_input=keep_input, dry_run=dry_run
        )
        return self._decode(partial(read_removal, batch_id), text)

    @override
    def prune(
        self, before: int, *, keep_input: bool, dry_run: bool
    ) -> Iterator[Removal | Kept]:
        delete = partial(self.delete, keep_input=keep_input, dry_run=dry_run)
        return prune_batches(self._newest_first, delete, before)

    @override
    def extend(self, batch_id: str, window: str) -> None:
        raise UsageError(
            "`--extend` is not supported with a server",
            hint="run the remaining requests of an expired batch with"
            f" `batchchat retry {batch_id}`",
        )

    @override
    def enqueue(self, batch_id: str) -> None:
        """Do nothing: the server runs every batch it has."""

    @override
    def run(self, batch_id: str, *, show_progress: bool) -> View | None:
        return follow(self, batch_id, show_progress=show_progress)

    @override
    def index_answers(self, batch_id: str) -> None:
        """Do nothing: the server does it."""

    @override
    def result_source(
        self, *, follow: bool, table: TableOptions | None = None
    ) -> ResultSource:
        return RemoteResults(self._server, follow=follow, table=table)

    @override
    def is_abandoned(self, view: View) -> bool:
        return False

    @override
    def content(self, file_id: str) -> Iterator[bytes]:
        return file_chunks(self._server, file_id, Transfer("downloading"))

    @override
    def export(
        self, view: View, output: LocalOutput, table: TableOptions | None = None
    ) -> list[Path]:
        batch, transfer = view.batch, Transfer("downloading")
        download = Download(self._server, batch, table, transfer)
        places = output_paths(*output)
        writers = [*download.files(places)]
        try:
            with transfer.display(show_progress=streams.stderr_is_terminal()):
                return write_atomically(batch.id, places, writers)
        except ServerError as error:
            error.hint = f"they are kept: `batchchat results {batch.id} --output PATH`"
            raise

    @override
    def blocked_reason(self, view: View) -> str | None:
        return None

    @override
    def speed(self, view: View) -> Speed | None:
        return average_speed(view.batch, time.time())

    @override
    def status_rows(self, view: View) -> list[tuple[str, str]]:
        return []

    @override
    def next_hint(self, batch_id: str) -> str:
        return f"follow it with `batchchat watch {batch_id}`"

    def _upload(self, file: InputFile, *, show_progress: bool) -> str:
        try:
            return upload(self._server, file, show_progress=show_progress)
        except KeyboardInterrupt:
            streams.info()
            streams.info("stopped: nothing was submitted")
            raise
        except ServerError as error:
            error.hint = f"nothing was submitted; {error.hint}"
            raise

    def _create(self, path: str, body: bytes = b"") -> str:
        """Create a batch, only once if the request is retried; return its id."""
        uncertain = "the batch may exist; check with `batchchat list`"
        try:
            text = self._server.post(path, body, idempotency_key=uuid4().hex)
        except ServerError as error:
            error.hint = uncertain
            raise
        except KeyboardInterrupt:
            streams.hint(uncertain)
            raise
        return self._decode(_read_batch, text).id

    def _view(self, text: bytes) -> View:
        batch = self._decode(_read_batch, text)
        return View(text, batch, self._pending_outputs.get(batch.id))

    def _decode(self, decode: Callable[[bytes], T], text: bytes) -> T:
        """Return the decoded response. Raises `ConfigError` if it has another form."""
        try:
            return decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, NotFoundError) as error:
            raise ConfigError(
                f"the server at {self._server.url} sent a response that this version"
                f" of batchchat can't read: {error}",
                hint="check that BATCHCHAT_URL is correct and that client and server"
                " have the same version",
            ) from None


def _read_batch(text: bytes) -> BatchObject:
    """Decode a Batch object whose id is safe in paths and commands."""
    batch = read_batch(text)
    checked_id("batch", batch.id)
    return batch


def _hint_if_not_retryable(batch: BatchObject) -> str:
    """Return what to do about a batch that can't be retried."""
    if batch.status == "failed":
        return f"see the problems of its input with `batchchat status {batch.id}`"
    if not batch.is_terminal:
        return f"see its progress with `batchchat status {batch.id}`"
    counts = batch.request_counts
    if counts.completed == counts.total:
        if not counts.total:
            return "submit the file again with `batchchat submit FILE`"
        return f"read the results with `batchchat results {batch.id}`"
    return f"see the errors with `batchchat results {batch.id} --errors`"


def _path(batch_id: str) -> str:
    return f"batches/{checked_id('batch', batch_id)}"
