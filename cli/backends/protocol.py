"""The interface between the commands and the place where batches run.

A backend runs batches in this process, on a cluster, or through a server. The commands
use `Backend` and do not depend on which of the three it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from batchchat.cli.backends.batch_view import LocalOutput, Page, View
from batchchat.cli.backends.engine_options import EngineOptions
from batchchat.cli.terminal.input_file import InputFile
from batchchat.jobs.deletion.deletion import Removal
from batchchat.jobs.deletion.pruning import Kept
from batchchat.jobs.ledger.batch_filter import EVERY_BATCH, BatchFilter
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.workers.local.live_speed import Speed


@dataclass(frozen=True, kw_only=True)
class RetryOptions:
    """How a retry differs from the batch that it repeats.

    `max_cost` replaces the cost limit. With `merge` the local output also contains the
    results of the original batch.
    """

    max_cost: Decimal | None = None
    merge: bool = False


class ResultSource(Protocol):
    """The finished results of one batch."""

    def new(self, view: View) -> Iterator[tuple[bool, bytes]]:
        """Yield each result that no earlier call has yielded, and if it completed.

        A result is a line of the output file, of the error file, or of a table.
        """


class Backend(Protocol):
    """The batches of one project.

    Methods that take a `batch_id` raise `NotFoundError` for an unknown one. All methods
    raise an error that is `retryable` while the storage or the server is unavailable.
    """

    accepts_any_model: bool
    """Whether a model outside the catalog can be used, by Hugging Face ID or folder."""

    default_completion_window: str
    """The completion window of batches that are submitted without one."""

    default_on_invalid: str | None
    """The option `on_invalid` of batches without one; None if a server chooses it."""

    default_reuse: tuple[str, ...]
    """The option `reuse` of batches without one; empty if a server chooses it."""

    def check_model(self, name: str, max_cost: Decimal | None = None) -> None:
        """Check that the model exists, and that its cost can be limited.

        Raises:
            ModelNotFoundError: there is no such model.
            UsageError: `max_cost` is given, and the model has no price.

        """

    def use_engine(self, options: EngineOptions) -> None:
        """Run batches with these options.

        Raises:
            UsageError: there are some, but other processes run the batches.

        """
        options.refuse()

    def check_engine(self, model: str | None) -> None:
        """Check that this process, if it runs batches, can start the model's engine.

        Raises:
            EngineStartError: vLLM is not installed.
            ConfigError: the engine arguments are invalid, or need more GPUs.

        """

    def models(self) -> bytes:
        """Return the catalog as JSON: OpenAI's list of Model objects."""

    def destination(self, output: str) -> str:
        """Return the URL that the results are delivered to when the batch ends.

        Raises:
            OutputError: delivery to `output` is not possible or not allowed.

        """

    def submit(
        self, file: InputFile, options: BatchOptions, *, show_progress: bool
    ) -> str:
        """Submit a file; return the batch's id.

        Raises:
            InputFileError: the file can't be read, or is too large.

        """

    def retry(
        self, batch_id: str, output: LocalOutput | None, options: RetryOptions
    ) -> str:
        """Submit a batch's failed and unfinished requests; return the new batch's id.

        Raises:
            ConflictError: the batch has not ended.
            UsageError: there is nothing to retry, or `options` are not supported.

        """

    def check_batch(self, batch_id: str) -> None:
        """Check that the batch exists."""

    def batch_ids(self, prefix: str = "") -> Iterator[str]:
        """Yield the ids of batches, or of those whose id begins with `prefix`.

        Without `prefix`, the newest batch comes first.
        """

    def get(self, batch_id: str) -> View:
        """Return the current state of a batch."""

    def newest(self, limit: int, wanted: BatchFilter = EVERY_BATCH) -> Page:
        """Return the last `limit` batches that are `wanted`, newest first."""

    def runners(self, views: Sequence[View]) -> list[str]:
        """Return what runs each unfinished batch, such as `cluster`, or `none`.

        It is empty for a batch that has ended.
        """

    def cancel(self, batch_id: str) -> View:
        """Cancel a batch. Raises `ConflictError` if it has ended otherwise."""

    def delete(self, batch_id: str, *, keep_input: bool, dry_run: bool) -> Removal:
        """Delete an ended batch; return what that removes, or would with `dry_run`.

        A deletion that was interrupted is continued.

        Raises:
            ConflictError: the batch has not ended, or another batch needs it.

        """

    def prune(
        self, before: int, *, keep_input: bool, dry_run: bool
    ) -> Iterator[Removal | Kept]:
        """Delete the batches that ended before a time in Unix seconds, newest first.

        Yields what each deletion has removed, or would remove with `dry_run`.
        """

    def extend(self, batch_id: str, window: str) -> None:
        """Let a batch expire only at the end of a completion window that begins now.

        Raises:
            ConflictError: the batch has ended.
            UsageError: the backend can't extend batches.

        """

    def enqueue(self, batch_id: str) -> None:
        """Make sure that the processes that run batches will find this one."""

    def run(self, batch_id: str, *, show_progress: bool) -> View | None:
        """Run a batch to its end, or wait for that; return None if interrupted."""

    def index_answers(self, batch_id: str) -> None:
        """Index the answers of a batch that `run` has ended, unless others do."""

    def result_source(
        self, *, follow: bool, table: TableOptions | None = None
    ) -> ResultSource:
        """Return what reads the finished results of a batch, as a `table` if given.

        `follow` states whether it is used more than once.
        """

    def is_abandoned(self, view: View) -> bool:
        """Return whether an unfinished batch is run by no process on this machine."""

    def content(self, file_id: str) -> Iterator[bytes]:
        """Yield the bytes of an output file or an error file."""

    def export(
        self, view: View, output: LocalOutput, table: TableOptions | None = None
    ) -> list[Path]:
        """Write the results of an ended batch to local files; return their paths.

        `table` replaces the batch's own options.

        Raises:
            UsageError: a column of `table` does not exist.

        """

    def blocked_reason(self, view: View) -> str | None:
        """Return why the batch makes no progress, None if there is no known reason."""

    def speed(self, view: View) -> Speed | None:
        """Return how fast an unfinished batch runs, None if that is not known."""

    def status_rows(self, view: View) -> list[tuple[str, str]]:
        """Return names and values that `status` adds for an unfinished batch."""

    def next_hint(self, batch_id: str) -> str:
        """Return what to do next with a batch that was submitted and is not run yet."""
