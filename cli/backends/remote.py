"""Batches of a server: what `BATCHCHAT_URL` makes of the commands."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from functools import partial
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote
from uuid import uuid4

import msgspec

from batchchat.cli.backends.batch_view import (
    Delivery,
    Page,
    Shown,
    View,
    encode,
    read_models,
    read_shown,
)
from batchchat.cli.backends.follow import follow
from batchchat.cli.backends.pending_outputs import Wanted
from batchchat.cli.client.download import fetch_parquet, file_chunks
from batchchat.cli.client.http_client import Server
from batchchat.cli.client.transfer_progress import Transfer
from batchchat.cli.client.upload import upload
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.input_file import Input
from batchchat.jobs.errors import (
    BatchchatError,
    ConfigError,
    NotFoundError,
    ServerError,
    UsageError,
)
from batchchat.jobs.ids import checked_id
from batchchat.jobs.ledger.submission import Options
from batchchat.jobs.requests.schema import ENDPOINT
from batchchat.jobs.results.export import Write, places_of, write_files
from batchchat.jobs.storage.destination import Destination

T = TypeVar("T")

_PAGE = 100


class _List(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool


class RemoteBatches:
    """See `Batches`."""

    takes_any_model = False

    def __init__(self, server: Server) -> None:
        """Work with the batches that the key of `server` sees."""
        self._server = server
        self._wanted = Wanted()

    def check_model(  # noqa: D102 - see Batches
        self, name: str, max_cost: Decimal | None = None
    ) -> None:
        del max_cost  # the server looks at it
        self._server.get(f"models/{quote(name, safe='')}")

    def models(self) -> bytes:  # noqa: D102
        text = self._server.get("models")
        self._read(read_models, text)
        return text

    def destination(self, output: str) -> str:  # noqa: D102
        return Destination.parse(output).url  # the server says whether it may be

    def submit(self, file: Input, asked: Options, *, shown: bool) -> str:  # noqa: D102
        if asked.model is None:  # else `check_model` has seen that the server is there
            self._server.get("models")
        file_id = self._upload(file, shown=shown)
        body: dict[str, Any] = {
            "input_file_id": file_id,
            "endpoint": ENDPOINT,
            "completion_window": asked.completion_window,
            "metadata": asked.metadata,
            "model": asked.model,
            "seed": asked.seed,
            "priority": asked.priority,
            "on_invalid": asked.on_invalid,
        }
        if asked.max_cost is not None:
            body["max_cost"] = float(asked.max_cost)
        if asked.output_format != "jsonl":
            body["output_format"] = asked.output_format
        if asked.destination is not None:
            body["output"] = asked.destination
        try:
            batch_id = self._make("batches", encode(body))
        except UsageError:
            with suppress(BatchchatError):  # a file that is left harms nobody
                self._server.delete(f"files/{file_id}")
            raise
        if asked.output is not None:
            delivery = Delivery(Path(asked.output), asked.output_format)
            self._wanted.note(batch_id, delivery)
        return batch_id

    def retry(  # noqa: D102
        self, batch_id: str, delivery: Delivery | None, max_cost: Decimal | None
    ) -> str:
        limit = "" if max_cost is None else f"?max_cost={max_cost}"
        try:
            new_id = self._make(f"{_place(batch_id)}/retry{limit}")
        except UsageError as error:
            error.hint = error.hint or _instead_of_retry(self.get(batch_id).batch)
            raise
        if delivery is not None:
            self._wanted.note(new_id, delivery)
        return new_id

    def get(self, batch_id: str) -> View:  # noqa: D102
        return self._view(self._server.get(_place(batch_id)))

    def newest(self, limit: int) -> Page:  # noqa: D102
        views: list[View] = []
        has_more = True
        while has_more and len(views) < limit:
            after = {"after": views[-1].batch.id} if views else {}
            text = self._server.get(
                "batches", limit=min(_PAGE, limit - len(views)), **after
            )
            page = self._read(partial(msgspec.json.decode, type=_List), text)
            views += [self._view(bytes(text)) for text in page.data]
            has_more = page.has_more
        return Page(views, has_more)

    def cancel(self, batch_id: str) -> View:  # noqa: D102
        return self._view(self._server.post(f"{_place(batch_id)}/cancel"))

    def hand_over(self, batch_id: str) -> None:
        """Do nothing: the server knows of it."""

    def run(self, batch_id: str, *, shown: bool) -> View | None:  # noqa: D102
        return follow(self, batch_id, shown=shown)

    def content(self, file_id: str) -> Iterator[bytes]:  # noqa: D102
        return file_chunks(self._server, file_id, Transfer("downloading"))

    def export(self, view: View, delivery: Delivery) -> list[Path]:  # noqa: D102
        transfer, batch_id = Transfer("downloading"), view.batch.id
        places = places_of(*delivery)
        wanted = []
        if places.jsonl:
            wanted.append(
                (places.jsonl, self._copy(view.batch.output_file_id, transfer))
            )
        if places.errors and view.batch.error_file_id:
            wanted.append(
                (places.errors, self._copy(view.batch.error_file_id, transfer))
            )
        if places.parquet:
            wanted.append((places.parquet, partial(self._parquet, view, transfer)))
        try:
            with transfer.display(shown=terminal.is_terminal()):
                return write_files(batch_id, places, wanted)
        except ServerError as error:
            error.hint = f"they are kept: `batchchat results {batch_id} --output PATH`"
            raise

    def missing(self, view: View) -> str | None:  # noqa: D102
        del view
        return None

    def rows(self, view: View) -> list[tuple[str, str]]:  # noqa: D102
        del view
        return []

    def next_step(self, batch_id: str, status: str | None = None) -> str | None:  # noqa: D102
        del status
        return f"follow it with `batchchat watch {batch_id}`"

    def _upload(self, file: Input, *, shown: bool) -> str:
        try:
            return upload(self._server, file, shown=shown)
        except KeyboardInterrupt:
            terminal.say("\nstopped: nothing was submitted")
            raise
        except ServerError as error:
            error.hint = f"nothing was submitted; {error.hint}"
            raise

    def _make(self, path: str, body: bytes = b"") -> str:
        """Have a batch made, once however often that is asked; return its id."""
        perhaps = "it may have made the batch all the same: see `batchchat list`"
        try:
            text = self._server.post(path, body, key=uuid4().hex)
        except ServerError as error:
            error.hint = perhaps
            raise
        except KeyboardInterrupt:
            terminal.hint(perhaps)
            raise
        return self._read(read_shown, text).id

    def _copy(self, file_id: str | None, transfer: Transfer) -> Write:
        """Return what copies a file of the server; where there is none, nothing."""
        if file_id is None:
            return lambda _sink: None
        chunks = file_chunks(self._server, file_id, transfer)
        return lambda sink: sink.writelines(chunks)

    def _parquet(
        self, view: View, transfer: Transfer, sink: BinaryIO | RawIOBase
    ) -> None:
        """Copy the table that the server keeps, or have it make one."""
        kept = view.batch.output_parquet_file_id
        if kept is not None and self._has(kept):
            sink.writelines(file_chunks(self._server, kept, transfer))
        else:
            fetch_parquet(self._server, view.batch.id, sink, transfer)

    def _has(self, file_id: str) -> bool:
        try:
            self._server.get(f"files/{file_id}")
        except NotFoundError:
            return False
        return True

    def _view(self, text: bytes) -> View:
        batch = self._read(read_shown, text)
        return View(text, batch, self._wanted.of(batch.id))

    def _read(self, read: Callable[[bytes], T], text: bytes) -> T:
        """Return what `text` says. Raises `ConfigError` where it is another API's."""
        try:
            return read(text)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the server at {self._server.url} does not speak this batchchat's API:"
                f" {error}",
                hint="see whether BATCHCHAT_URL is right, and which version runs there",
            ) from None


def _instead_of_retry(batch: Shown) -> str | None:
    """Say what to do about a batch that can't be retried."""
    if batch.status == "failed":
        return f"see what is wrong with its input: `batchchat status {batch.id}`"
    if not batch.is_terminal:
        return f"see how far it is with `batchchat status {batch.id}`"
    counts = batch.request_counts
    if counts.completed == counts.total:
        return None if counts.total else "hand the file in with `batchchat submit`"
    return f"see why with `batchchat results {batch.id} --errors`"


def _place(batch_id: str) -> str:
    return f"batches/{checked_id('batch', batch_id)}"
