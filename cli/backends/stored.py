"""The common part of the backends that read and write the storage directly."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec
from typing_extensions import override

from batchchat.cli.backends.batch_view import LocalOutput, Page, View
from batchchat.cli.backends.protocol import Backend, ResultSource, RetryOptions
from batchchat.cli.backends.session import Session
from batchchat.cli.terminal.input_file import InputFile
from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.model_object import model_objects
from batchchat.jobs.deletion.deletion import Deleter, Removal
from batchchat.jobs.deletion.pruning import Kept, prune
from batchchat.jobs.errors import CorruptObjectError, NewerFormatError, NotFoundError
from batchchat.jobs.files.files import Files
from batchchat.jobs.files.reused_batches import AUTO, with_reused_batches
from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.batch_filter import EVERY_BATCH, BatchFilter
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.cost_limit import check_cost_limit
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import File
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import cancel_batch, create_batch, extend_batch
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.planning.model_resolution import resolve_model
from batchchat.jobs.requests.decompression import plain_name
from batchchat.jobs.requests.named_model import ModelSearch
from batchchat.jobs.storage.destination import AllowedDestinations

_CONCURRENT_READS = 32
_READ_AT_ONCE = 256
"""Most batches that a list reads before it returns the first of them."""


class StoredBackend(Backend):
    """A backend over the storage of a session; see `Backend`."""

    accepts_any_model = True

    default_completion_window = "24h"

    runs_elsewhere = False
    """Whether other processes run what is submitted."""

    repaired_by = "`batchchat resume`"
    """What repairs corrupt records, as `status` prints it."""

    def __init__(self, session: Session) -> None:
        """Use the storage and the catalog of `session`."""
        self.session = session
        self.ledger = session.ledger
        self.default_on_invalid = session.settings.on_invalid
        self.default_reuse = (session.settings.reuse,)

    @override
    def check_model(self, name: str, max_cost: Decimal | None = None) -> None:
        check_cost_limit(max_cost, self.session.catalog.find(name).price, name)

    @override
    def check_engine(self, model: str | None) -> None:
        """Do nothing: the workers check it."""

    @override
    def models(self) -> bytes:
        data = model_objects(self.session.catalog)
        return encode({"object": "list", "data": data})

    @override
    def destination(self, output: str) -> str:
        allowed = self.session.settings.output_prefixes
        if not self.runs_elsewhere:  # this user's own process delivers the results
            allowed = (output,)
        destinations = AllowedDestinations(allowed, self.ledger.storage.url)
        return destinations.check(output, self.ledger.project).url

    @override
    def submit(
        self, file: InputFile, options: BatchOptions, *, show_progress: bool
    ) -> str:
        chunks = file.chunks()
        if options.model is None and options.rows is None:
            search = ModelSearch(self.session.settings.max_line_bytes)
            chunks = search.require(chunks)
        stored = store_file(self.ledger, chunks, plain_name(file.name))
        return self._create(stored, options)

    @override
    def retry(
        self, batch_id: str, output: LocalOutput | None, options: RetryOptions
    ) -> str:
        from batchchat.jobs.results.retry import retry_input, retry_options

        state = self.ledger.state(batch_id)
        new = retry_options(state.batch, options.max_cost, merge=options.merge)
        if output is not None:
            new = msgspec.structs.replace(
                new,
                output=str(output.path),
                output_format=output.formats,
                destination=None,
            )
        model = state.plan.model if state.plan else None
        if model is not None:
            check_cost_limit(new.max_cost, model.price, model.name)
        lines = retry_input(self.ledger, state)
        stored = store_file(self.ledger, lines, f"{batch_id}_retry.jsonl")
        return self._create(stored, new)

    def _create(self, file: File, options: BatchOptions) -> str:
        """Create the batch; first mark its input as used, so that it is not deleted."""
        batch_id = new_batch_id()
        Files(self.ledger).use(file.id, batch_id)
        is_model_needed = self.runs_elsewhere or options.reuse == (AUTO,)
        model = self._resolve_model(file, options) if is_model_needed else None
        create_batch(
            self.ledger,
            file,
            with_reused_batches(
                self.ledger, options, batch_id, model.name if model else None
            ),
            enqueue=self.runs_elsewhere,
            batch_id=batch_id,
            resolved_model=model if self.runs_elsewhere else None,
        )
        return batch_id

    def _resolve_model(self, file: File, options: BatchOptions) -> Model | None:
        """Return the model of a batch that another process runs.

        That process accepts no other models than those of its catalog and this one.
        """
        catalog = self.session.catalog
        return resolve_model(self.ledger, file, catalog, options.model, options.rows)

    @override
    def check_batch(self, batch_id: str) -> None:
        self.ledger.batch(batch_id)

    @override
    def batch_ids(self, prefix: str = "") -> Iterator[str]:
        if prefix:
            return self.ledger.batch_ids_with(prefix)
        return self.ledger.batch_ids()

    @override
    def get(self, batch_id: str) -> View:
        return View.of_state(self.session.state(batch_id))

    @override
    def newest(self, limit: int, wanted: BatchFilter = EVERY_BATCH) -> Page:
        at_once = min(limit + 1, _READ_AT_ONCE)
        found = list(islice(self._views(wanted, at_once), limit + 1))
        return Page(found[:limit], has_more=len(found) > limit)

    def _views(self, wanted: BatchFilter, at_once: int) -> Iterator[View]:
        """Yield the wanted batches, newest first; read `at_once` at a time."""
        ids = self.ledger.batch_ids()
        view = partial(self._view_if_wanted, wanted)
        with ThreadPoolExecutor(_CONCURRENT_READS) as pool:
            while some := list(islice(ids, at_once)):
                yield from filter(None, pool.map(view, some))

    def _view_if_wanted(self, wanted: BatchFilter, batch_id: str) -> View | None:
        """Return a batch; None if it is not wanted, or this version cannot read it."""
        try:
            if wanted.allows_metadata(self.ledger.batch(batch_id).metadata):
                view = self.get(batch_id)
                return view if wanted.allows_status(view.batch.status) else None
        except (CorruptObjectError, NewerFormatError, NotFoundError):
            pass
        return None

    @override
    def cancel(self, batch_id: str) -> View:
        cancel_batch(self.ledger, batch_id)
        self._stop_running(batch_id)
        return View.of_state(self.ledger.state(batch_id))

    @override
    def delete(self, batch_id: str, *, keep_input: bool, dry_run: bool) -> Removal:
        deleter = Deleter(self.ledger)
        act = deleter.preview if dry_run else deleter.delete
        return act(batch_id, keep_input=keep_input)

    @override
    def prune(
        self, before: int, *, keep_input: bool, dry_run: bool
    ) -> Iterator[Removal | Kept]:
        if not dry_run:
            Deleter(self.ledger).sweep()
        return prune(self.ledger, before, keep_input=keep_input, dry_run=dry_run)

    @override
    def extend(self, batch_id: str, window: str) -> None:
        extend_batch(self.ledger, batch_id, window)

    @override
    def index_answers(self, batch_id: str) -> None:
        """Do nothing: a controller does it."""

    @override
    def result_source(
        self, *, follow: bool, table: TableOptions | None = None
    ) -> ResultSource:
        if table is not None:
            return _StoredTable(self.ledger, table)
        return _StoredResults(self.ledger)

    @override
    def is_abandoned(self, view: View) -> bool:
        return False

    @override
    def content(self, file_id: str) -> Iterator[bytes]:
        return self.ledger.storage.stream(self.ledger.keys.content(file_id))

    @override
    def export(
        self, view: View, output: LocalOutput, table: TableOptions | None = None
    ) -> list[Path]:
        from batchchat.jobs.results.export import export

        return export(self.ledger, view.batch.id, output.path, output.formats, table)

    @override
    def blocked_reason(self, view: View) -> str | None:
        return None

    @override
    def status_rows(self, view: View) -> list[tuple[str, str]]:
        corrupt = sorted(self.ledger.state(view.batch.id).corrupt)
        if not corrupt:
            return []
        names = ", ".join(f"`{key.split('/', 4)[-1]}`" for key in corrupt)
        return [("corrupt", f"{names}; repaired by {self.repaired_by}")]

    def _stop_running(self, batch_id: str) -> None:
        """Make whatever runs a cancelled batch stop."""
        raise NotImplementedError


class _StoredTable(ResultSource):
    """Joins commits and checkpoints with the rows of the input."""

    def __init__(self, ledger: Ledger, table: TableOptions) -> None:
        from batchchat.jobs.results.json_table import FinishedTable

        self._ledger = ledger
        self._table = FinishedTable(ledger, table)

    @override
    def new(self, view: View) -> Iterator[tuple[bool, bytes]]:
        return self._table.new(self._ledger.state(view.batch.id))


class _StoredResults(ResultSource):
    """Reads commits and checkpoints."""

    def __init__(self, ledger: Ledger) -> None:
        from batchchat.jobs.results.partial_results import PartialResults

        self._ledger = ledger
        self._results = PartialResults(ledger)

    @override
    def new(self, view: View) -> Iterator[tuple[bool, bytes]]:
        state = self._ledger.state(view.batch.id)
        for result in self._results.new(state):
            yield result.completed, result.text + b"\n"
